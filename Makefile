# The two commands of the README are `make demo` and `make test`; CI runs `make check`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint bench check lock docs clean environment-demo environment-dev

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := .venv/bin
# Processes of pytest. Two: the suite starts brokers and agents, and must fit a machine of two cores.
WORKERS ?= 2
# A file's tests share what its fixtures make, so one process runs them all; in the order of collection, since the long
# files come early in it and the two processes end together.
SPREAD := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Files with tests that run alone: collecting all others as well takes as long as some of these tests.
ALONE = $$(grep -rlw --include='test_*.py' 'mark\.alone' tests)
# Benchmarks that `make bench` runs; `make bench QUICK=--quick` ends within minutes.
BENCHMARKS := $(filter-out __init__ common,$(basename $(notdir $(wildcard benchmarks/*.py)))) $(notdir $(patsubst %/__main__.py,%,$(wildcard benchmarks/*/__main__.py)))
QUICK ?=

# From 1.31 on, ONNX Runtime writes a device id and starts a thread unless this is set before it is imported.
export ORT_DISABLE_TELEMETRY := 1

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' Makefile | expand -t 12

demo: environment-demo  ## deploy a real model to six local agents over a real broker, and show what happened
	$(BIN)/controller demo

test: environment-dev  ## all tests but the long ones and those that need a board
	$(BIN)/python -m pytest -q $(SPREAD) -m "not alone and not long and not device"
	$(BIN)/python -m pytest -q -m "alone and not long and not device" $(ALONE)

test-long: environment-dev  ## the long tests; goes on where it stopped until the code changes
	$(BIN)/python -m pytest -q $(SPREAD) -m "long and not alone and not device" -p tools.resume --resume .cache/test-long.json
	$(BIN)/python -m pytest -q -m "long and alone and not device" -p tools.resume --resume .cache/test-long-alone.json $(ALONE)

lint: environment-dev  ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: environment-dev  ## every benchmark, one table each; truth alone takes two hours without QUICK=--quick, and goes on where it stopped
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name $(QUICK); done

check: lint test  ## what CI runs

lock: environment-dev  ## resolve the locks again; LOCK_ARGS=--upgrade takes newer releases
	$(BIN)/python -m tools.lock $(LOCK_ARGS)

docs: environment-dev  ## write the generated parts of docs/reference again
	$(BIN)/python -m tools.reference --write

clean:  ## caches and build products; keeps .venv and .thresher
	rm -rf build dist *.egg-info .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

environment-demo:
	@$(PYTHON) tools/environment.py demo

environment-dev:
	@$(PYTHON) tools/environment.py dev
