PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# For the tests of clusters: what the extras bring, beside the packages of .venv
CLUSTER := .venv-cluster
EXTRAS := submitit ray tensorboard mlflow-skinny
SITE := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
WORKERS ?= 2
PROFILE ?= quick
export WORKERS

.DEFAULT_GOAL := help
.PHONY: help setup format lint test test-long test-slow test-cluster bench docs reproduce

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## make .venv and install everything into it

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

format: setup ## put the code in its standard form
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: setup ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup ## the tests, two to five minutes on two cores
	$(BIN)/pytest -n $(WORKERS) -m "not long and not slow and not cluster"

test-long: setup ## the tests that kill, sweep and compare whole processes, three to eight minutes
	$(BIN)/pytest -n $(WORKERS) -m "long and not slow"

test-slow: setup ## the tests that train models for minutes
	$(BIN)/pytest -m slow

test-cluster: $(CLUSTER)/ready ## sweeps on SLURM (IWAE_SLURM_UP brings it up) and Ray, trackers
	$(CLUSTER)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m cluster

$(CLUSTER)/ready: .venv/ready
	$(PYTHON) -m venv $(CLUSTER)
	$(CLUSTER)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt $(EXTRAS)
	echo "import site; site.addsitedir('$$($(BIN)/python $(SITE))')" \
	> $$($(CLUSTER)/bin/python $(SITE))/main.pth
	touch $@

bench: setup ## speed beside a plain program, pythae and the machine's limit: outputs/bench
	$(BIN)/python benchmarks/bench.py

docs: setup ## docs/cli.md, from the help pages
	$(BIN)/python docs/make_cli.py

reproduce: setup ## the paper's tables; PROFILE=quick (default), fast or paper
	@echo "== what will run, and how long it takes on this machine"
	$(BIN)/iwae train --dry-run profile=$(PROFILE)
	$(BIN)/iwae train profile=$(PROFILE)
	$(BIN)/iwae report outputs/$(PROFILE)
