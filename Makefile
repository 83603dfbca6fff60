# What people do daily. GATEWAY=postgres works with every target; see README.md.
GATEWAY ?= duckdb
PYTHON ?= python3

BIN := .venv/bin
SQLMESH := $(BIN)/sqlmesh --gateway $(GATEWAY)
FUNNEL := $(BIN)/python -m pipedrive_funnel
# One process more than cores, since they wait for servers and commands; over 4 save little
PYTEST = $(BIN)/python -m pytest --dist loadgroup --no-loadscope-reorder \
    --numprocesses $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n + 1 : 4)))
LAND := $(FUNNEL) land $(if $(SOURCE),csv "$$SOURCE",api) --gateway $(GATEWAY)
export SOURCE DIR BACKUP ENVIRONMENT MARKDOWN # a path may hold blanks

# CI passes settings that are not set as empty variables: for config.yaml they are to be none
$(foreach name,$(filter POSTGRES_% SQLMESH__% PIPEDRIVE_%,$(.VARIABLES)),\
    $(if $(value $(name)),,$(eval unexport $(name))))

# Neither prod nor dev is built or dropped by a slip
throw_away = $(if $(filter pr_%,$(ENVIRONMENT)),,$(error ENVIRONMENT must begin with pr_, for example ENVIRONMENT=pr_12))

# The pip that comes with Python 3.11 takes twice as long to install all packages; it will do, too
renew_pip = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-input 'pip>=25' \
    || echo "There is no newer pip: installing takes longer."

.DEFAULT_GOAL := help
.PHONY: help install dev prod land refresh health pr drop check test test-faults test-page \
    test-catalog screenshots audit lint lint-format lint-models format \
    page catalog ui ide backup restore bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

install: .venv/installed ## Create .venv and install what requirements.txt pins

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	@$(call renew_pip,.venv)
	@# One line for all packages, in place of several each; what goes wrong is on stderr, whole.
	@# Not compiled: Python does that with the modules that are used, a fraction of all.
	@(LC_ALL=C $(BIN)/python -m pip install --disable-pip-version-check --no-input --no-compile \
	    --progress-bar off --requirement requirements.txt; echo "exit $$?") \
	  | awk -v all="$$(grep -c == requirements.txt)" \
	    '/^Collecting/ { printf "\rInstalling packages: %d of %d", ++n, all; fflush() } \
	     /^Installing/ { printf "\rInstalling %d packages: unpacking ", n; fflush() } \
	     /^exit/ { status = $$2 } \
	     END { if (n) print ""; exit status }'
	@touch $@

dev: install ## Build the funnel in the environment dev and print it
	@$(FUNNEL) build dev --gateway $(GATEWAY)

prod: install ## Promote to prod: views only, nothing is computed twice
	@$(FUNNEL) build prod --gateway $(GATEWAY)

land: install ## Land an export (SOURCE=DIR), or Pipedrive's API, in pipedrive_raw
	@$(LAND)

refresh: install ## Land as above, then bring prod up to date
	@$(LAND) --refresh

page: install page/.venv/installed ## Show prod (or ENVIRONMENT) in the browser, for everybody
	@$(FUNNEL) page $(ENVIRONMENT) --gateway $(GATEWAY)

page/.venv/installed: page/requirements.txt page/requirements-test.txt
	$(PYTHON) -m venv page/.venv
	@$(call renew_pip,page/.venv)
	@page/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	    --no-compile $(addprefix --requirement ,$^)
	@touch $@

catalog: install catalog/.venv/installed ## Write models, lineage and audits of prod (or ENVIRONMENT) to one page
	@$(FUNNEL) catalog $(ENVIRONMENT) --gateway $(GATEWAY)
	@catalog/.venv/bin/python catalog/render.py

catalog/.venv/installed: catalog/requirements.txt
	$(PYTHON) -m venv catalog/.venv
	@$(call renew_pip,catalog/.venv)
	@catalog/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	    --no-compile --requirement $<
	@touch $@

pr: install ## Build a throw-away environment (ENVIRONMENT=pr_12), and compare it with prod
	$(call throw_away)
	@$(FUNNEL) build "$$ENVIRONMENT" --gateway $(GATEWAY)
	@$(FUNNEL) diff "$$ENVIRONMENT" $(if $(MARKDOWN),--markdown "$$MARKDOWN") --gateway $(GATEWAY)

drop: install ## Drop a throw-away environment (ENVIRONMENT=pr_12), and what has expired
	$(call throw_away)
	$(SQLMESH) invalidate "$$ENVIRONMENT"
	$(SQLMESH) janitor

health: install ## Say how old the last landing, run and promotion are; fails when too old
	@$(FUNNEL) health --gateway $(GATEWAY)

check: lint ## Check in a minute what needs no database: conventions, unit tests, quick tests
	$(PYTEST) -m "quick and not faults and not again"

test: ## Check all that must pass, on DuckDB and PostgreSQL
	@# Both environments are installed at once, and the linters run at once
	@$(MAKE) --jobs 2 --no-print-directory lint page/.venv/installed
	$(PYTEST) -m "not faults and not again"

test-faults: install page/.venv/installed catalog/.venv/installed ## Kill plans, fill disks, try wrong models, replay more: what else must pass
	$(PYTEST) -m "faults or again"

test-page: page/.venv/chromium ## Try the page in Chromium, which must be there
	@$(FUNNEL) snapshot $(ENVIRONMENT) --gateway $(GATEWAY)
	cd page && .venv/bin/python -m pytest -m browser

screenshots: page/.venv/chromium ## Write the pictures of the page in docs/page/
	@$(FUNNEL) snapshot $(ENVIRONMENT) --gateway $(GATEWAY)
	@cd page && .venv/bin/python tests/screenshots.py

page/.venv/chromium: page/requirements-browser.txt page/.venv/installed | install
	@page/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	    --requirement page/requirements-browser.txt
	@touch $@

test-catalog: install catalog/.venv/installed ## Try the catalog in Chromium, which must be there, and in dbt's page
	@catalog/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
	    --requirement catalog/requirements-test.txt
	@$(FUNNEL) catalog $(ENVIRONMENT) --gateway $(GATEWAY)
	cd catalog && .venv/bin/python -m pytest

audit: install ## Run the audits of dev, or of ENVIRONMENT: which pass, warn, would block
	@$(FUNNEL) audit $(ENVIRONMENT) --gateway $(GATEWAY)

lint: lint-format lint-models ## Check conventions and formatting

lint-format: install
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(SQLMESH) format --check \
		|| { echo "To repair it: make format" >&2; exit 1; }

lint-models: install
	$(SQLMESH) lint

format: install ## Repair the formatting, and of the conventions those that a machine can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(SQLMESH) format

ui: install ## Open SQLMesh's own catalog at http://127.0.0.1:8000
	@$(FUNNEL) ui --gateway $(GATEWAY)

ide: install ## Open SQLMesh's whole UI there: edit, plan (prod, too) and query
	@$(FUNNEL) ui --ide --gateway $(GATEWAY)

backup: install ## Write the database to one file in backups/ (or DIR=DIR)
	@$(FUNNEL) backup $(if $(DIR),"$$DIR") --gateway $(GATEWAY)

restore: install ## Put a backup (BACKUP=FILE) in an empty database; REPLACE=1: in any
	@$(FUNNEL) restore $(if $(BACKUP),"$$BACKUP") $(if $(REPLACE),--replace) --gateway $(GATEWAY)

bench: install ## Measure commands, and on PostgreSQL builds and refreshes, at two sizes
	$(BIN)/python benchmarks/typed.py
	$(BIN)/python benchmarks/costs.py

clean: ## Remove caches, logs and the DuckDB file, prod in it too; PostgreSQL is left alone
	rm -rf .cache logs .pytest_cache .ruff_cache .hypothesis pipedrive.duckdb pipedrive.duckdb.wal
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
