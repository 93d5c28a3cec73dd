# Everything is made in .venv; nothing outside this folder is touched but the data folder that
# `make dev` names when it starts. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OURS := --editable gen --editable clients/python --editable .
SEEDS ?= 1000
FIRST ?= 1
MINUTES ?= 10
PROTOS := $(shell find proto -name '*.proto')

.DEFAULT_GOAL := help
.PHONY: help install install-dev dev test check format gen lock bench bench-ledger faults soak mutants clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed  ## Install the service into .venv

dev: install  ## Run everything here: database, gateway, a key, and three commands to try
	@$(BIN)/omni-grpc dev

test: install-dev  ## Run the tests
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 2 --dist loadfile

check: install-dev  ## Format, lint, types, layers, contract; changes nothing
	@scripts/check

format: install-dev  ## Format the code and the protos
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/buf format -w

gen: install-dev  ## Generate gen/ from proto/
	@scripts/gen gen

bench: install-dev  ## Measure the service against a mock provider on this machine
	@$(BIN)/python bench/run.py

bench-ledger: install-dev  ## Measure the ledger alone, beside one transaction a step
	@$(BIN)/python bench/ledger.py

faults: install-dev  ## Break everything from seeds: SEEDS=1000 FIRST=1 (KIND=n: one kind only)
	@$(BIN)/python tests/faults/run.py seeds --count $(SEEDS) --first $(FIRST) $(if $(KIND),--kind $(KIND))

soak: install-dev  ## Three replicas under kill -9 with 64 clients: MINUTES=10
	@$(BIN)/python tests/faults/run.py soak --minutes $(MINUTES)

mutants: install-dev  ## Take out one safeguard at a time: its test must fail (MUTANT=name: one)
	@$(BIN)/python tests/mutants/mutant_runner.py

lock: install-dev  ## Resolve the locked dependencies anew
	@scripts/lock

install-dev: $(VENV)/.installed-dev

clean:  ## Remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist

$(VENV)/bin/python:
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "omni-grpc needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements/run.txt pyproject.toml gen/pyproject.toml clients/python/pyproject.toml | $(VENV)/bin/python
	@echo "Installing $$(grep -c '==' requirements/run.txt) locked packages (half a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(OURS)
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	@echo "Installing $$(grep -c '==' requirements/dev.txt) locked development packages ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
