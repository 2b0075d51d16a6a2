# The two commands of a fresh machine are `make bench` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SAMPLE := data/sample
STORE ?= data/sample-store
REAL ?= ../shared/data

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python %d.%d is too old: make PYTHON=python3.11 (or newer)" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embed,bench,export,dev]'
	@touch $@

.PHONY: install
install: $(STAMP) ## Make the virtual environment in .venv, with pinned packages

.PHONY: bench
bench: $(STAMP) ## A first look at the main job, on a synthetic sample: store, embeddings, comparison table
	$(BIN)/featurestore sample $(SAMPLE)
	$(BIN)/featurestore ingest --store $(STORE) --metadata $(SAMPLE)/MovieGenre.csv --images $(SAMPLE)/posters
	$(BIN)/featurestore embed --store $(STORE) --backbone descriptors
	$(BIN)/benchmarks run --store $(STORE) --quick --protocol cv --protocol study

.PHONY: test
test: $(STAMP) ## The whole test suite (slow-marked tests excepted)
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto

.PHONY: test-slow
test-slow: $(STAMP) ## The tests that take minutes
	$(BIN)/python -m pytest -m slow

.PHONY: perf
perf: $(STAMP) ## Every job beside its rivals and its limit, as ratios; kept as JSON
	$(BIN)/python tests/perf/run.py

.PHONY: check
check: $(STAMP) ## Format, lint, types, doctests, README examples
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --doctest-modules featurestore benchmarks tests/test_readme.py tests/test_house.py

.PHONY: clean
clean: ## Remove the environment, caches and the sample
	rm -rf $(VENV) $(SAMPLE) $(STORE) .pytest_cache .mypy_cache .ruff_cache
