# Everything here works from a fresh clone with Python 3.11+, make and (for demo and tests) npm.
.DEFAULT_GOAL := help
.PHONY: help setup fmt check test test-pure test-again test-fault test-versions shake soak soak-log soak-hosts alerts campaign bench demo lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VERSIONS := $(VENV)/versions
TEST_PROCESSES ?= 2

# What goes in by a library's own doors, and what reads or writes through it in the plainest way.
DOORS := $(addprefix tests/unit/test_,sql.py names.py typed.py conversions.py formats.py paths.py documents.py \
		encode.py session.py transport.py metrics.py jobfile.py job_schema.py) tests/unit/cli \
	$(addprefix tests/integration/test_,postgres_source.py postgres_search_path.py mongodb_source.py mongodb_run.py)

# What walks documents, in C and in Python.
WALKS := $(addprefix tests/unit/test_,documents.py fragments.py document_codecs.py dynamodb_values.py wire.py keys.py \
		encode.py paths.py rules.py conversions.py versions.py read_slices.py) \
	$(addprefix tests/property/test_,wire_values.py encode.py transform.py postgres_csv.py) \
	$(addprefix tests/integration/test_,encode.py postgres_types.py type_matrix.py mongodb_types.py)

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv with the pinned packages and backfill itself

$(STAMP): requirements.lock pyproject.toml hatch_build.py $(wildcard engine/documents/c/*)
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

test: $(STAMP) ## Run all tests but the soak, on real servers, in two processes (TEST_PROCESSES=0 for one)
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile
	$(MAKE) test-pure

test-pure: $(STAMP) ## Run what walks documents without the extension
	BACKFILL_PURE=1 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile $(WALKS)

test-again: $(STAMP) ## After a failed `make test`: run what failed alone, three tests at most, and name what passes then
	$(BIN)/python -m tests.again

test-fault: $(STAMP) ## Run the tests that cut, kill and fill
	$(BIN)/python -m pytest -q tests/fault tests/resume

test-versions: $(STAMP) ## Try the lowest and the newest versions of libraries that pyproject.toml allows
	$(PYTHON) -m venv $(VERSIONS)/uv && $(VERSIONS)/uv/bin/pip install --quiet uv
	for resolution in lowest-direct highest; do \
		$(PYTHON) -m venv --clear $(VERSIONS)/$$resolution \
		&& $(VERSIONS)/uv/bin/uv pip compile --quiet --resolution $$resolution --no-emit-index-url --extra motor \
			--python $(VERSIONS)/$$resolution pyproject.toml -o $(VERSIONS)/$$resolution.txt \
		&& $(VERSIONS)/uv/bin/uv pip install --quiet --python $(VERSIONS)/$$resolution \
			-c $(VERSIONS)/$$resolution.txt --group dev -e '.[motor]' \
		&& $(VERSIONS)/$$resolution/bin/python -m pytest -q -p no:cacheprovider $(DOORS) || exit 1; \
	done

shake: $(STAMP) ## Run tests while threads, loops and children are slow at random (ARGS=tests/unit, SHAKE_SEED=1)
	$(BIN)/python -m pytest -q -p tests.support.shaken -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

soak: $(STAMP) ## 50 runs of 100,000 rows, each killed several times and resumed; the C under sanitizers (FUZZ_SEEDS=20)
	$(BIN)/python -m pytest -q -s -m soak tests/resume tests/property

soak-log: $(STAMP) ## An application changes everything, jobs go by the log and are killed (ARGS="--on 18 --seeds 20", --several)
	$(BIN)/python -m tests.soak $(ARGS)

soak-hosts: $(STAMP) ## 300,000 rows over hosts whose workers die, sleep and are cut off, and whose runner is killed (root)
	$(BIN)/python -m pytest -q -s -m soak tests/soak/test_hosts.py tests/soak/test_ray.py

alerts: $(STAMP) ## A real Prometheus scrapes a run of each sick kind and one that is well: what fires, after how long
	$(BIN)/python -m pytest -q -s -m soak tests/alerts

campaign: $(STAMP) ## Seeds of faults, kills, stops and moving sources, every write looked at (ARGS="--seeds 200")
	$(BIN)/python -m tests.campaign $(ARGS)

bench: $(STAMP) ## Measure the engine, its peers and how it follows capacity (ARGS=--quick, --full)
	$(BIN)/python -m bench.suite $(ARGS)

demo: $(STAMP) ## A whole migration on this machine, checked item by item (ARGS=--runner=ray, on a Ray cluster of its own)
	$(BIN)/backfill demo $(ARGS)

lock: $(STAMP) ## Pin the newest packages that pyproject.toml allows
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile --quiet --group dev --group bench --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --upgrade pyproject.toml -o requirements.lock

clean: ## Remove what was made
	rm -rf $(VENV) .backfill .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
