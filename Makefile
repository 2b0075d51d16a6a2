# The two commands of a fresh machine are `make bench` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SAMPLE := data/sample
STORE ?= data/sample-store
REAL ?= ../shared/data
FUZZ := data/fuzz/venv
SECONDS ?= 3600

.DEFAULT_GOAL := help

# An environment keeps its Python: another one that is asked for would be ignored without a word.
ifneq ($(origin PYTHON),file)
SAY := import sys; print("%d.%d" % sys.version_info[:2])
ASKED := $(shell $(PYTHON) -c '$(SAY)')
HELD := $(if $(wildcard $(BIN)/python),$(shell $(BIN)/python -c '$(SAY)'))
ifneq ($(HELD),$(if $(HELD),$(ASKED)))
$(error $(VENV) holds Python $(HELD), PYTHON=$(PYTHON) is another: name a folder for it, as in VENV=.venv-other, or leave PYTHON out)
endif
endif

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python %d.%d is too old: make PYTHON=python3.11 (or newer)" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

.PHONY: install
install: $(STAMP) ## Make the virtual environment in .venv, with pinned packages

.PHONY: bench
bench: $(STAMP) ## The main job on the synthetic sample, a few minutes: store, embeddings, first comparison table
	$(BIN)/featurestore sample $(SAMPLE)
	$(BIN)/featurestore ingest --store $(STORE) --metadata $(SAMPLE)/MovieGenre.csv --images $(SAMPLE)/posters
	$(BIN)/featurestore embed --store $(STORE) --backbone descriptors
	$(BIN)/benchmarks run --store $(STORE) --protocol cv --protocol study --quick

.PHONY: test
test: $(STAMP) ## The whole test suite (those marked slow, cluster or browser excepted)
	$(BIN)/python -m pytest -m "not slow and not cluster and not browser" --numprocesses auto

.PHONY: test-slow
test-slow: $(STAMP) ## The tests that take minutes
	$(BIN)/python -m pytest -m slow

.PHONY: test-cluster
test-cluster: $(STAMP) ## Two nodes of a Ray cluster on loopback addresses, whose workers, nodes and drivers are killed
	$(BIN)/python -m pytest -m cluster

.PHONY: test-browser
test-browser: $(STAMP) browser ## The explorer in a headless Chromium: mouse, keys, phone, a million points
	FEATURESTORE_BROWSER=1 $(BIN)/python -m pytest tests/browser

# Where it can't be installed the tests are skipped with the reason, and fail where CI=true.
.PHONY: browser
browser: ## Chromium for `make test-browser` from the system's packages, where this is root
	@command -v chromium chromium-browser google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y --no-install-recommends chromium; } \
		|| echo "no Chromium here: install the package chromium, as in apt-get install chromium"

.PHONY: perf
perf: $(STAMP) ## Every job beside its rivals and its limit, as ratios; kept as JSON
	$(BIN)/python tests/perf/run.py

.PHONY: torture
torture: $(STAMP) ## Kill, starve, damage and load the store; a table, kept as JSON; fails where a promise is broken
	$(BIN)/python tests/torture/run.py

# Of its own: what instruments Python code has no place in the product's environment.
$(FUZZ)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --constraint constraints.txt --editable . pillow hypothesis scikit-learn skops atheris==3.0.0
	@touch $@

.PHONY: resolve
resolve: $(STAMP) ## Ask pip's resolver what each extra brings on each Python; installs nothing
	$(BIN)/python tests/resolve.py

.PHONY: extras
extras: $(STAMP) ## What each extra brings: packages, size on the disk, licences
	$(BIN)/python tests/extras.py

.PHONY: fuzz
fuzz: $(FUZZ)/.installed ## Coverage-guided fuzzing of readers, importers, SQL, views and records; SECONDS=3600 for each target
	$(FUZZ)/bin/python tests/fuzz/run.py --seconds $(SECONDS)

.PHONY: check
check: $(STAMP) ## Format, lint, types, doctests, README examples
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --doctest-modules featurestore benchmarks tests/test_readme.py tests/test_house.py

.PHONY: clean
clean: ## Remove the environment, caches and the sample
	rm -rf $(VENV) $(SAMPLE) $(STORE) .pytest_cache .mypy_cache .ruff_cache
