# make demo   fresh machine: environment, then the whole job on the digital mouse brain
# make test   fresh machine: environment, then all tests but the slow ones below
# make test-distributed  tests of several processes
# make test-analysis  tests of comparisons, contributions, studies and reports
# make test-sharing  tests of packed bundles, strange zips, signatures and exports
# make test-wheel  the built wheel in a new environment of its own, with bundles packed here
# make test-browser  reports in a real browser; needs Chromium
# make test-label  tests of the MONAI Label app, in an environment of its own
# make test-deploy  the MONAI Deploy application, in an environment of its own
# make label-demo  MONAI Label on the digital mouse brain, with what `make demo` trained, on 127.0.0.1 (PORT=8000)
# make check  ruff and mypy
# make fuzz   two thousand damaged network files, imported one by one
# make bundles  the shipped bundles anew from their template
# make bench  speed, memory and start-up as ratios, figures in bench/; about half an hour on two cores

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LABEL := .venv-label/bin
LABEL_READY := .venv-label/.ready
PORT ?= 8000

.PHONY: demo test test-distributed test-analysis test-sharing test-wheel test-label test-deploy test-browser label-demo check fuzz bundles bench clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

# MONAI Label depends on sam2, which is built on the spot. In isolation the build would fetch PyTorch, gigabytes of it, a second time.
$(LABEL_READY): pyproject.toml apps/monailabel/requirements.txt
	$(PYTHON) -m venv .venv-label
	$(LABEL)/python -m pip install --quiet --disable-pip-version-check setuptools $$(grep ^torch== apps/monailabel/requirements.txt)
	SAM2_BUILD_CUDA=0 $(LABEL)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
	    --requirement apps/monailabel/requirements.txt --editable . pytest
	touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py demo

test: $(READY)
	$(BIN)/python -m pytest -m "not (distributed or analysis or sharing or browser or wheel or label or deploy)"

test-distributed: $(READY)
	$(BIN)/python -m pytest -m distributed

test-analysis: $(READY)
	$(BIN)/python -m pytest -m analysis

test-sharing: $(READY)
	$(BIN)/python -m pytest -m sharing

.venv-wheel/.ready: $(READY) $(wildcard mrh_monai/*.py mrh_monai/bundle_template/*/*)
	rm -rf .venv-wheel build
	$(PYTHON) -m venv .venv-wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir .venv-wheel/dist .
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt .venv-wheel/dist/*.whl
	touch $@

test-wheel: .venv-wheel/.ready
	MRH_WHEEL_PYTHON=$(CURDIR)/.venv-wheel/bin/python $(BIN)/python -m pytest -m wheel

test-browser: $(READY)
	$(BIN)/python -m pytest -m browser

test-label: $(LABEL_READY)
	$(LABEL)/python -m pytest -m label tests/apps

demo/bundles/mrh_mbp/models/model.pt:
	$(MAKE) demo

label-demo: $(LABEL_READY) demo/bundles/mrh_mbp/models/model.pt
	@echo 'curl -X POST "http://127.0.0.1:$(PORT)/infer/mrh_af?image=subject06&output=image" -o subject06_af.nii.gz'
	$(LABEL)/python -m monailabel.main start_server --app apps/monailabel --studies demo/brains --conf bundles demo/bundles \
	    --host 127.0.0.1 --port $(PORT)

.venv-deploy/.ready: pyproject.toml $(wildcard apps/monai_deploy/*.txt)
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --constraint apps/monai_deploy/constraints.txt \
		--requirement apps/monai_deploy/requirements.txt --editable . pytest
	touch $@

test-deploy: .venv-deploy/.ready
	.venv-deploy/bin/python -m pytest -m deploy tests/apps

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(READY)
	PYTHONPATH=tests $(BIN)/python -m helpers.damaged_networks 2000

bundles: $(READY)
	$(BIN)/python -c "from mrh_monai.bundle.template_rendering import write_shipped; write_shipped('bundles')"

bench: $(READY)
	mkdir -p bench
	$(BIN)/python benchmarks/speed.py -o bench/speed.json
	$(BIN)/python benchmarks/exactness.py -o bench/exactness.json
	$(BIN)/python benchmarks/startup.py -o bench/startup.json
	$(BIN)/python benchmarks/streaming.py -o bench/streaming.json
	$(BIN)/python benchmarks/patches.py -o bench/patches.json
	$(BIN)/python benchmarks/memory.py -o bench/memory.json
	$(BIN)/python benchmarks/on_cuda.py -o bench/on_cuda.json

clean:
	rm -rf .venv .venv-wheel .venv-label .venv-deploy demo bench
