# Everything here works from a fresh clone with Python 3.11+, make and (for demo and tests) npm.
.DEFAULT_GOAL := help
.PHONY: help setup fmt check test test-fault soak campaign bench demo lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv with the pinned packages and backfill itself

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "backfill needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

fmt: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

check: $(STAMP) ## Lint, types, import rules, tidiness
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_tidy.py

test: $(STAMP) ## Run all tests but the soak, on real servers
	$(BIN)/python -m pytest -q

test-fault: $(STAMP) ## Run the tests that cut, kill and fill
	$(BIN)/python -m pytest -q tests/fault tests/resume

soak: $(STAMP) ## 50 runs of 100,000 rows, each killed several times and resumed
	$(BIN)/python -m pytest -q -s -m soak tests/resume

campaign: $(STAMP) ## Seeds of faults, kills, stops and moving sources, every write looked at (ARGS="--seeds 200")
	$(BIN)/python -m tests.campaign $(ARGS)

bench: $(STAMP) ## Measure the engine, its peers and how it follows capacity (ARGS=--quick, --full)
	$(BIN)/python -m bench.suite $(ARGS)

demo: $(STAMP) ## A whole migration on this machine, checked item by item
	$(BIN)/backfill demo

lock: $(STAMP) ## Pin the newest packages that pyproject.toml allows
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile --quiet --group dev --group bench --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --upgrade pyproject.toml -o requirements.lock

clean: ## Remove what was made
	rm -rf $(VENV) .backfill .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
