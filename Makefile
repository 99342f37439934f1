# `make` lists the targets. All of them share one .venv, made from pyproject.toml with constraints.txt's versions.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
READY := .venv/.ready
PYTHONS := python3.11 python3 python3.12 python3.13
TEST_WORKERS ?= auto
PIP_INSTALL := $(BIN)/python -m pip install -c constraints.txt -e '.[dev]'

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint format typecheck bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | awk -F '\t' '{ printf "make %-10s %s\n", $$1, $$2 }'

demo: $(READY) ## fine-tune the embedded model on the embedded data, in minutes on two CPU cores
	$(BIN)/python -m codeft.train task=summarization method=telly k=6

test: $(READY) ## run the tests, offline and on the CPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --maxprocesses 8

lint: $(READY) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

typecheck: $(READY) ## check types
	$(BIN)/mypy

bench: $(READY) ## time codeft beside its rivals, in hours (docs/benchmarks.md)
	@shopt -s nullglob; scripts=(benchmarks/[!_]*.py); \
	if (( $${#scripts[@]} == 0 )); then echo "there are no benchmarks yet"; fi; \
	failed=(); \
	for script in "$${scripts[@]}"; do \
	  echo "== $$script"; $(BIN)/python "$$script" || failed+=("$$script"); \
	done; \
	$(BIN)/python benchmarks/_table.py; \
	if (( $${#failed[@]} )); then echo "failed, and keep the results they had: $${failed[*]}" >&2; exit 1; fi

clean: ## remove .venv, caches and builds; runs in outputs/ stay
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests recipes -name __pycache__ -prune -exec rm -rf {} +

# In a terminal each line of pip's is shown over the one before.
$(READY): pyproject.toml constraints.txt
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found="$$python"; break; \
	  fi; \
	done; \
	if [[ -z "$${found:-}" ]]; then echo "codeft needs Python 3.11 or later; tried $(PYTHONS)" >&2; exit 1; fi; \
	echo "making .venv with $$("$$found" --version): this takes a minute or two"; \
	if [[ ! -x $(BIN)/python ]]; then "$$found" -m venv .venv; fi
	@if [[ -t 1 && -z "$${CI:-}" ]]; then \
	  $(PIP_INSTALL) | while IFS= read -r line; do printf '\r\033[K%.78s' "$$line"; done; printf '\r\033[K'; \
	else \
	  $(PIP_INSTALL) --quiet; \
	fi
	@touch $@
