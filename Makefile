# Two commands do all the set-up: `make demo` and `make test`. On Windows use the plain lines in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# pip leaves out what Python compiles by itself when it is first imported (half the time of the installation):
# so let it keep what it compiled, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all check format bench clean

demo: $(STAMP)-demo          ## install, train on solar cells (elpv-dataset, CC-BY-NC-SA-4.0), show the result
	$(BIN)/headstart demo

test: check                  ## install, lint, type-check, test: what CI runs
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: check              ## the slow tests too: every line of docs/backbones.md, a cluster of Ray that loses nodes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or not slow'

check: $(STAMP)-test         ## lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)-test        ## put the code into its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)-test         ## how to run the measurements
	@cat benchmarks/README.md

$(STAMP)-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -e ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
