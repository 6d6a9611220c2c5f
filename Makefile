# make demo: see it work. make test: check it. Both install into .venv first and reuse what is there.

# The first Python of this machine that is new enough; make PYTHON=… chooses another one.
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
# Two more than two cores: the tests wait for processes as long as they compute.
TEST_PROCESSES ?= 4

.PHONY: demo test bench bench-compare campaign docs lint format clean deploy-check deploy-bases lock audit fuzz fuzz-api dist
.DEFAULT_GOAL := demo
LOCK := deploy/requirements.lock

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

# A whole federation of real processes under faults, then seeds on virtual time; see docs/reliability.md. One seed again:
# make campaign SEEDS=7 TWIN_SEEDS=; the known bugs, which must all be found: make campaign PLANTED=all
MINUTES ?= 10
CLUSTERS ?= 8
GATEWAYS ?= 4
TWIN_SEEDS ?= 1-5000
TWIN_MINUTES ?= 3
TWIN_JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
CAMPAIGN := PYTHONPATH=tests $(BIN)/python -m
campaign: $(VENV)/.installed-dev
	$(CAMPAIGN) campaign --minutes $(MINUTES) --clusters $(CLUSTERS) --gateways $(GATEWAYS) --report build/campaign/report \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(PLANTED),--planted $(PLANTED))
	$(if $(PLANTED),,$(if $(TWIN_SEEDS),$(foreach kind,federation readings,$(CAMPAIGN) twin --kind $(kind) \
		--seeds $(TWIN_SEEDS) --minutes $(TWIN_MINUTES) --jobs $(TWIN_JOBS) &&) true))

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What deploy/ holds, rendered and judged, and applied to a simulated cluster.
deploy-check: $(VENV)/.installed-dev
	$(BIN)/pytest -n 0 tests/deploy

# Writes again what in deploy/ is made from code.
deploy-bases: $(VENV)/.installed-dev
	$(BIN)/python deploy/bases/agent/generate.py

# What the image holds: every version with its hashes, for every platform. UPGRADE=--upgrade takes the newest of all.
lock: $(VENV)/.installed-dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --custom-compile-command 'make lock' $(UPGRADE) \
		--extra embedded --extra kustomize --extra parquet pyproject.toml --output-file $(LOCK)

# Parsers that meet the outside, guided by coverage, for MINUTES in all: make fuzz MINUTES=5 ONLY="envelope sbatch". Needs
# atheris (pip install atheris), which has wheels for Linux only.
fuzz: $(VENV)/.installed-dev
	cd tests && $(abspath $(BIN))/python -m security.fuzz $(ONLY) --minutes $(MINUTES)

# The hub, fed with requests out of its own OpenAPI document: EXAMPLES of each operation that are valid, and as many that
# are not, half of them aimed at objects that are there. 12 take some five minutes.
EXAMPLES ?= 12
fuzz-api: $(VENV)/.installed-dev
	ATOLL_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -n 0 -m campaign tests/hub/test_hub_openapi_fuzz.py

# What the image holds against the known vulnerabilities (PyPI's list). It asks the network, so that it is no test; a
# package that could not be looked up counts as a failure.
audit: $(VENV)/.installed-dev
	$(BIN)/uvx --quiet pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement $(LOCK)

# A release: the same bytes for the same commit (reproducible-builds.org: SOURCE_DATE_EPOCH). What is told of the wheel,
# its completions and its parts, is told by the wheel in an empty environment.
RELEASE := build/release
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1577836800)
dist: $(VENV)/.installed-dev
	rm -rf dist $(RELEASE) && mkdir -p dist
	$(BIN)/python -m hatchling build --directory dist
	$(BIN)/uv venv --quiet --python $(BIN)/python $(RELEASE)
	$(BIN)/uv pip install --quiet --python $(RELEASE) --require-hashes --requirement $(LOCK)
	$(BIN)/uv pip install --quiet --python $(RELEASE) --no-deps dist/*.whl
	@for shell in bash zsh fish; do _ATOLL_COMPLETE=source_$$shell $(RELEASE)/bin/atoll > dist/atoll-completion.$$shell; done
	version=$$($(RELEASE)/bin/atoll --version) && sed "s/^dynamic = .*/version = \"$${version#atoll }\"/" pyproject.toml \
		> build/pyproject.toml
	$(BIN)/uvx --quiet --from 'cyclonedx-bom>=7,<8' cyclonedx-py environment $(RELEASE)/bin/python \
		--pyproject build/pyproject.toml --output-reproducible --output-file dist/atoll-sbom.cdx.json
	cd dist && sha256sum -- * > SHA256SUMS

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# pip is quiet for as long as it loads packages: without a word it looks as if nothing happened.
INSTALLING = echo "installing Atoll into $(VENV): some minutes, and only the first time"

# .[dev] has all that .[demo] has, so whichever came first serves the demo.
$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	@test $(VENV)/.installed-dev -nt pyproject.toml || { $(INSTALLING) && \
		$(BIN)/python -m pip install --quiet --editable '.[demo]'; }
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@$(INSTALLING)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Atoll needs Python 3.11 or newer, and $(PYTHON) is not: run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu apt-get install python3-venv" >&2; exit 1; }
