# make demo: see it work. make test: check it. Both install into .venv first and reuse what is there.

# The first Python of this machine that is new enough; make PYTHON=… chooses another one.
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
# Two more than two cores: the tests wait for processes as long as they compute.
TEST_PROCESSES ?= 4

.PHONY: demo test bench bench-compare lint format clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed-demo
	$(BIN)/atoll demo

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal

# All measures of benchmarks/, or those of some rooms: make bench ONLY="policy sink/formats" SIZE=small ROUNDS=1
SIZE ?= full
ROUNDS ?= 3
bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.suite $(ONLY) --size $(SIZE) --rounds $(ROUNDS)

# Two commits in turns on this machine: make bench-compare A=v0.1.0 B=main ONLY=policy; without B, what is checked out.
bench-compare: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.suite $(ONLY) --size $(SIZE) --rounds $(ROUNDS) --against $(A) $(if $(B),--with $(B))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# .[dev] has all that .[demo] has, so whichever came first serves the demo.
$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	@test $(VENV)/.installed-dev -nt pyproject.toml || $(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Atoll needs Python 3.11 or newer, and $(PYTHON) is not: run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu apt-get install python3-venv" >&2; exit 1; }
