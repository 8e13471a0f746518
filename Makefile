PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
WORKERS ?= 2
PROFILE ?= quick

# What the profiles change in experiment=table1, table2 and table3
RUNS = outputs/$(PROFILE)
BESIDE = hydra/launcher=joblib hydra.launcher.n_jobs=$(WORKERS)
TABLE1.quick = dataset=digits optimizer=fast optimizer.batch_size=50 optimizer.passes=150 $(BESIDE)
TABLE2.quick = dataset=digits optimizer.batch_size=50 optimizer.passes=100 $(BESIDE) \
	init_from.optimizer.name=fast +init_from.optimizer.batch_size=50 +init_from.optimizer.passes=150
TABLE1.fast = optimizer=fast
TABLE2.fast = init_from.optimizer.name=fast optimizer.batch_size=100 optimizer.passes=40
TABLE3.fast = optimizer=fast
TABLE1.paper = optimizer=paper
TABLE2.paper = optimizer=constant
TABLE3.paper = optimizer=paper
TABLE1 = $(if $(TABLE1.$(PROFILE)),outputs=$(RUNS) $(TABLE1.$(PROFILE)))
TABLE2 = $(if $(TABLE2.$(PROFILE)),outputs=$(RUNS) $(TABLE2.$(PROFILE)))
TABLE3 = $(if $(TABLE3.$(PROFILE)),outputs=$(RUNS) $(TABLE3.$(PROFILE)))

.DEFAULT_GOAL := help
.PHONY: help setup format lint test test-slow bench docs known-profile reproduce

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

test: setup ## the tests, three minutes on two cores
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

test-slow: setup ## the tests that train models for minutes
	$(BIN)/pytest -m slow

bench: setup ## speed beside a plain program, pythae and the machine's limit: outputs/bench
	$(BIN)/python benchmarks/bench.py

docs: setup ## docs/cli.md, from the help pages
	$(BIN)/python docs/make_cli.py

known-profile:
	@test -n "$(strip $(TABLE1))" || { echo "PROFILE=$(PROFILE): there are quick, fast and paper" >&2; exit 2; }

reproduce: known-profile setup ## the paper's tables; PROFILE=quick (default), fast or paper
	@echo "== what will run, and how long it takes on this machine"
	$(BIN)/iwae train --dry-run experiment=table1 $(TABLE1)
	$(BIN)/iwae train --dry-run experiment=table2 $(TABLE2)
	$(if $(TABLE3),$(BIN)/iwae train --dry-run experiment=table3 $(TABLE3))
	@echo "== table 1"
	$(BIN)/iwae train experiment=table1 $(TABLE1)
	@echo "== table 2"
	$(BIN)/iwae train experiment=table2 $(TABLE2)
	$(if $(TABLE3),$(BIN)/iwae train experiment=table3 $(TABLE3))
	$(BIN)/iwae report $(RUNS)
