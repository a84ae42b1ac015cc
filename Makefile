# `make` prints the targets: each target below has its description after `##`.

PYTHON ?= python3
BIN := .venv/bin
DEMO_READY := .venv/.demo-ready
READY := .venv/.ready
LABEL := .venv-label/bin
LABEL_READY := .venv-label/.ready
DEPLOY_READY := .venv-deploy/.ready
WHEEL_READY := .venv-wheel/.ready
PORT ?= 8000

# `make test-all` gives every target a file for its results. Alone, a target writes none.
RESULTS := .test-results
PYTEST = -m pytest $(if $(JUNIT),--junitxml=$(JUNIT))
# The applications are tested in environments of their own.
WITHOUT_APPS = $(PYTEST) --ignore=tests/apps

# Share of the package's lines that `make test` executes, in whole percent: what was measured, rounded down. Raise it when the share has risen.
COVERAGE_FLOOR := 86

SEPARATE := distributed or training or analysis or sharing or browser or wheel or label or deploy
TEST_TARGETS := test test-distributed test-training test-analysis test-sharing test-wheel test-browser test-label
ifeq ($(shell uname -s),Linux)
TEST_TARGETS += test-deploy
else
LEFT_OUT := make test-deploy was left out: the SDK of MONAI Deploy runs on Linux only.
endif

# A thread of PyTorch that waits for another keeps its core busy, unless it is told to sleep. On a machine with other work, training takes five
# times as long for that. `make bench` measures with PyTorch's own setting.
demo $(TEST_TARGETS): export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo check $(TEST_TARGETS) test-deploy test-all fuzz bundles bench label-demo clean

help: ## Print this list.
	@echo "Type make and one of these targets."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO_READY) ## Do the whole job on the digital mouse brain. The results lie in demo/.
	$(BIN)/python examples/demo.py demo

check: $(READY) ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY) ## Run the tests but those of the targets below, and measure their coverage. About ten minutes.
	$(BIN)/python $(WITHOUT_APPS) -m "not ($(SEPARATE))" --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE_FLOOR)

test-distributed: $(READY) ## Run the tests of several processes. About three minutes.
	$(BIN)/python $(WITHOUT_APPS) -m distributed tests

test-training: $(READY) ## Run the tests of whole training runs, also killed and resumed, and of the alignment of stains. About seven minutes.
	$(BIN)/python $(WITHOUT_APPS) -m training tests

test-analysis: $(READY) ## Run the tests of comparisons, contributions, studies and reports. About two minutes.
	$(BIN)/python $(WITHOUT_APPS) -m analysis tests

test-sharing: $(READY) ## Run the tests of packed bundles, signatures and exports. About two minutes.
	$(BIN)/python $(WITHOUT_APPS) -m sharing tests

test-wheel: $(WHEEL_READY) ## Test the built wheel in an environment of its own.
	MRH_WHEEL_PYTHON=$(CURDIR)/.venv-wheel/bin/python $(BIN)/python $(WITHOUT_APPS) -m wheel tests

test-browser: $(READY) ## Open reports in Chromium, which must be installed.
	$(BIN)/python $(WITHOUT_APPS) -m browser tests

test-label: $(LABEL_READY) ## Test the MONAI Label app in an environment of its own.
	$(LABEL)/python $(PYTEST) -m label tests/apps

test-deploy: $(DEPLOY_READY) ## Test the MONAI Deploy application in an environment of its own.
	.venv-deploy/bin/python $(PYTEST) -m deploy tests/apps

test-all: ## Run all tests that can run here, and list at the end which were skipped and why.
	@rm -rf $(RESULTS); mkdir -p $(RESULTS); \
	for target in $(TEST_TARGETS); do \
	    echo "== make $$target"; \
	    $(MAKE) --no-print-directory $$target JUNIT=$(RESULTS)/$$target.xml || echo "make $$target" >> $(RESULTS)/failed; \
	done; \
	$(if $(LEFT_OUT),echo "$(LEFT_OUT)";) \
	$(PYTHON) tools/skip_table.py $(RESULTS)

fuzz: $(READY) ## Import two thousand damaged network files, one by one.
	PYTHONPATH=tests $(BIN)/python -m helpers.damaged_networks 2000

bundles: $(READY) ## Write the three shipped bundles again from their template, and store the template of this version.
	$(BIN)/python -c "from mrh_monai.bundle import write_shipped; write_shipped('bundles')"
	$(BIN)/python -c "from mrh_monai.sharing import write_current_template; write_current_template()"

bench: $(READY) ## Measure speed, memory and start-up into bench/. About half an hour on two cores.
	mkdir -p bench
	$(BIN)/python benchmarks/speed.py -o bench/speed.json
	$(BIN)/python benchmarks/exactness.py -o bench/exactness.json
	$(BIN)/python benchmarks/startup.py -o bench/startup.json
	$(BIN)/python benchmarks/streaming.py -o bench/streaming.json
	$(BIN)/python benchmarks/patches.py -o bench/patches.json
	$(BIN)/python benchmarks/memory.py -o bench/memory.json
	$(BIN)/python benchmarks/on_cuda.py -o bench/on_cuda.json

label-demo: $(LABEL_READY) demo/bundles/mrh_mbp/models/model.pt ## Serve the demo's bundles with MONAI Label on 127.0.0.1 (PORT=8000).
	@echo 'curl -X POST "http://127.0.0.1:$(PORT)/infer/mrh_af?image=subject06&output=image" -o subject06_af.nii.gz'
	$(LABEL)/python -m monailabel.main start_server --app apps/monailabel --studies demo/brains --conf bundles demo/bundles \
	    --host 127.0.0.1 --port $(PORT)

demo/bundles/mrh_mbp/models/model.pt:
	$(MAKE) demo

clean: ## Delete the environments and the results of demo, bench and tests.
	rm -rf .venv .venv-wheel .venv-label .venv-deploy demo bench $(RESULTS) .coverage build

# Environments. Each has a stamp, so that it is made once and again when its packages change. PyTorch comes first, because every other package
# takes the PyTorch that is there.

$(DEMO_READY): pyproject.toml constraints.txt
	@echo "Making the environment .venv with what the demo needs. It takes one to three minutes and 2 GB (more where PyTorch comes with CUDA)."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python tools/install.py --constraint constraints.txt torch
	@$(BIN)/python tools/install.py --constraint constraints.txt --editable ".[demo]"
	@touch $@

$(READY): $(DEMO_READY)
	@echo "Adding to .venv what tests, checks and benchmarks need."
	@$(BIN)/python tools/install.py --constraint constraints.txt --editable ".[dev]"
	@touch $@

$(WHEEL_READY): $(READY) $(shell find mrh_monai -type f -not -name '*.pyc')
	@echo "Building the wheel, and making the environment .venv-wheel with nothing else."
	@rm -rf .venv-wheel build
	@$(PYTHON) -m venv .venv-wheel
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir .venv-wheel/dist .
	@.venv-wheel/bin/python tools/install.py --constraint constraints.txt torch
	@.venv-wheel/bin/python tools/install.py --constraint constraints.txt .venv-wheel/dist/*.whl
	@touch $@

# MONAI Label depends on sam2, which is built here. In isolation the build would fetch PyTorch, gigabytes of it, a second time.
$(LABEL_READY): pyproject.toml apps/monailabel/requirements.txt
	@echo "Making the environment .venv-label."
	@$(PYTHON) -m venv .venv-label
	@$(LABEL)/python tools/install.py setuptools $$(grep ^torch== apps/monailabel/requirements.txt)
	@SAM2_BUILD_CUDA=0 $(LABEL)/python tools/install.py --no-build-isolation \
	    --requirement apps/monailabel/requirements.txt --editable . pytest
	@touch $@

$(DEPLOY_READY): pyproject.toml $(wildcard apps/monai_deploy/*.txt)
	@echo "Making the environment .venv-deploy."
	@$(PYTHON) -m venv .venv-deploy
	@.venv-deploy/bin/python tools/install.py --constraint apps/monai_deploy/constraints.txt \
	    --requirement apps/monai_deploy/requirements.txt --editable . pytest
	@touch $@
