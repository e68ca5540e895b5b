# The one front door. `make` lists what it can do; each target sets up what it needs first.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= python3
UV := $(or $(shell command -v uv),build/uv/bin/uv)
APT_TOOLS := bwrap:bubblewrap rg:ripgrep git:git /usr/bin/python3:python3

.DEFAULT_GOAL := help
.PHONY: help setup system demo serve test check lint types format docs hooks bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) system ## Make .venv from requirements.lock and install the system's tools that are missing

demo: setup ## Run a real task on a private server, from agent to downloaded result
	$(BIN)/roost demo

serve: setup ## Start the server on 127.0.0.1:8400
	$(BIN)/roost serve

test: setup ## Run every test
	$(BIN)/pytest

check: lint types test ## What has to pass before a change is merged (the same as .ci/run)

lint: $(READY) ## Form and imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache --no-logo

types: $(READY) ## Strict types
	$(BIN)/mypy

format: $(READY) ## Put the code into form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY) ## Write docs/reference/settings.md anew from the code
	$(BIN)/python -m tests.tidy.settings_page > docs/reference/settings.md

hooks: $(READY) ## Check form and types before each commit
	$(BIN)/pre-commit install

bench: setup ## Measure against floors that run in the same call
	$(BIN)/python -m benchmarks

lock: $(UV) ## Write requirements.lock anew: names, versions and hashes, no addresses
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --group dev pyproject.toml --output-file requirements.lock

clean: ## Remove what was built; data folders stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/node/node_modules

$(READY): requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --no-python-downloads --python '>=3.11' $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# pip's --target needs no rights and leaves the system's Python alone, which Debian's pip demands (PEP 668).
build/uv/bin/uv:
	@$(PYTHON) -m pip install --quiet --target build/uv uv \
	  || { $(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet uv; } \
	  || { echo "Neither uv nor pip was found. Please run: apt-get install -y python3-pip" >&2; exit 1; }

system:
	@missing=; for tool in $(APT_TOOLS); do \
	  command -v $${tool%%:*} > /dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then as_root=; \
	elif sudo -n true 2> /dev/null; then as_root="sudo -n"; \
	else echo "Please run: sudo apt-get install -y$$missing" >&2; exit 1; fi; \
	command -v apt-get > /dev/null || { echo "Please install:$$missing" >&2; exit 1; }; \
	$$as_root apt-get update -qq && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing
