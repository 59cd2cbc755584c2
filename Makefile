# Two commands are enough for a start: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check serve clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imagerouter needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[diffusers,dev]'
	touch $@

demo: .venv/.installed  ## Start the server, draw one picture the way a client would, say where it is
	$(BIN)/python examples/demo.py

test: .venv/.installed  ## All tests, offline
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: .venv/.installed  ## Formatter, linter, type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

serve: .venv/.installed  ## The server, with what it finds on this machine
	$(BIN)/imagerouter serve

clean:
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
