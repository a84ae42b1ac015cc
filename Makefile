# make demo   fresh machine: environment, then the whole job on the digital mouse brain
# make test   fresh machine: environment, then all tests
# make check  ruff and mypy
# make fuzz   two thousand damaged network files, imported one by one
# make bundles  the shipped bundles anew from their template
# make bench  speed and memory against the plain routes, as ratios

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check fuzz bundles bench clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py demo

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(READY)
	$(BIN)/python tests/fuzz_import.py 2000

bundles: $(READY)
	$(BIN)/python -c "from mrh_monai.bundles import write_shipped; write_shipped('bundles')"

bench: $(READY)
	$(BIN)/python benchmarks/patches.py
	$(BIN)/python benchmarks/memory.py

clean:
	rm -rf .venv demo
