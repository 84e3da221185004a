# Two commands to know: `make rehearse` shows what Holdfast does, `make test` says whether it still
# does. Both set up all they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

# Another Python than the first that will do: make test VENV=.venv-3.13 PYTHON=python3.13
VENV ?= .venv
BIN := $(VENV)/bin
export VENV PYTHON
# Words for the verb, as in: make rehearse ARGS="--nodes 12 --keep"
ARGS ?=
# Some machines forbid it; then each of the hundreds of starts of holdfast in the tests would
# translate the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup rehearse test unit lint journeys soak lock docs clean

help: ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: ## install system packages and .venv where they are missing
	@scripts/setup

rehearse: setup ## build a simulated rack, run everything on it, report, take it down
	@$(BIN)/holdfast rehearse $(ARGS)

test: setup ## everything a change needs: unit, linters, packaging, roles and journeys
	@$(BIN)/pytest tests/unit -n auto -m 'not slow and not soak' $(ARGS)
	$(BIN)/pytest tests -n 4 --dist loadfile -m 'slow or rehearsal' $(ARGS)

unit: setup ## the unit tests only, at most a minute
	@$(BIN)/pytest tests/unit -n auto -m 'not slow and not soak' $(ARGS)

lint: setup ## the linters only
	@$(BIN)/pytest tests/unit/test_linters.py tests/unit/test_imports.py $(ARGS)

journeys: setup ## the end-to-end journeys only, on a simulated rack
	@$(BIN)/pytest tests -n 4 --dist loadfile -m rehearsal $(ARGS)

soak: setup ## long campaigns: hundreds of runs, fuzzing, kill -9
	@$(BIN)/pytest tests -m soak $(ARGS)

lock: setup ## write requirements.lock anew from pyproject.toml
	@scripts/lock.sh

docs: setup ## write the generated reference pages and schemas anew
	@$(BIN)/python scripts/generate.py

clean: ## remove what can be made again in this checkout
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
