# Two commands are enough for a start: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
NODE ?= node

.PHONY: demo test test-node check serve bench bench-peers clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imagerouter needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[diffusers,dev]'
	touch $@

demo: .venv/.installed  ## Start the server, draw one picture the way a client would, say where it is
	$(BIN)/python examples/demo.py

test: .venv/.installed  ## All tests, offline
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-node: .venv/.installed  ## Clients of Node 22 or newer, with npm; skipped where they can't be had
	IMAGEROUTER_LIVE_NODE=$(NODE) $(BIN)/python -m pytest -q -rs tests/live/node

check: .venv/.installed  ## Formatter, linter, type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

serve: .venv/.installed  ## The server, with what it finds on this machine
	$(BIN)/imagerouter serve

bench: .venv/.installed  ## What a picture costs on its way through, beside others; under ten minutes, wants a quiet machine
	$(BIN)/python bench/gateway/run.py

bench-peers: .venv/.installed  ## LiteLLM and Portkey for `make bench`, into bench/.peers
	$(BIN)/python bench/gateway/peers.py

clean:
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
