# Each target sets up what it needs. `make` alone lists them.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo run check test bench soak chaos fuzz lint format generate docs docs-serve clean setup chromium lock upgrade

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTHON_READY := $(VENV)/.ready
# A local run needs a part of what a developer has, so it installs less where there is nothing yet.
LOCAL_READY := $(or $(wildcard $(PYTHON_READY)),$(VENV)/.local-ready)
AZURITE_READY := local/node_modules/.ready
CHECKOV_READY := infra/.venv/.ready
LOCKER := $(VENV)/locker
MKDOCS := NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs
PIP := -m pip install --quiet --disable-pip-version-check
# This project itself, from this folder, so that .venv/bin/llm-detector is what the code says.
INSTALL_SELF := $(PYTHON) $(PIP) --no-deps --no-build-isolation --editable .
# For every platform, with the hashes of every file of a version, and with no address of a package index.
COMPILE = UV_PYTHON_DOWNLOADS=never $(LOCKER)/bin/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python $(LOCKER)/bin/python --custom-compile-command "make lock" $(UPGRADE) pyproject.toml

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r target what; do \
		printf '  make %-10s %s\n' "$$target" "$$what"; done

demo: $(LOCAL_READY) $(AZURITE_READY) ## see it work: a day of logs through the functions, checked against the truth
	@$(PYTHON) -m local demo

run: $(LOCAL_READY) $(AZURITE_READY) ## run the functions on traffic of your choice, such as ARGS="--file logs.ndjson"
	@$(PYTHON) -m local run $(ARGS)

test: setup $(CHECKOV_READY) chromium lint ## lint, check types and run every test
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder

# What can be run between two thoughts: no other process, no other engine, a tenth of the examples.
check: lint ## lint, check types and run the quick tests
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest --numprocesses=auto --dist=worksteal -m "not real" --hypothesis-profile=quick

bench: setup ## measure speed and memory
	@$(PYTHON) -m benchmarks $(ARGS)

soak: setup ## send ten million records through the worker, and watch its memory: minutes
	@$(PYTHON) -m benchmarks.soak

chaos: setup ## play ten thousand stories in which everything goes wrong: minutes; SEED=N plays one again; ARGS=--real
	@$(PYTHON) -m tests.chaos $(if $(SEED),--seed $(SEED) --stories 1) $(ARGS)

fuzz: setup ## fuzz what reads bytes from outside, following coverage: minutes; ARGS="--minutes 30"
	@$(PYTHON) -m tests.fuzz $(ARGS)

lint: $(PYTHON_READY) docs ## lint, formatting, layers, Bicep and the site
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@rooms="$$($(VENV)/bin/lint-imports --no-cache)" || { echo "$$rooms"; exit 1; }
	@$(PYTHON) -m infra.bicep

format: $(PYTHON_READY) ## format the code, and fix what can be fixed
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

generate: $(PYTHON_READY) ## write anew what is derived from code and rule files
	@$(PYTHON) -m infra.tables
	@$(PYTHON) -m infra.sentinel.analytic_rules
	@$(PYTHON) -m generate

docs: $(PYTHON_READY) ## build the site of the documents into site/
	@built="$$($(MKDOCS) build 2>&1)" || { echo "$$built"; exit 1; }  # --quiet would not count warnings

docs-serve: $(PYTHON_READY) ## show the site, and follow changes
	@$(MKDOCS) serve

setup: $(PYTHON_READY) $(AZURITE_READY) ## install what a developer needs: about 1 GB in .venv and local/node_modules

$(PYTHON_READY): requirements-dev.txt .python-version
	@python="$$(sh local/find-python)" && "$$python" -m venv --clear $(VENV)
	@sh local/quietly "Installing a developer's Python packages into $(VENV), about 650 MB" \
		$(PYTHON) $(PIP) --require-hashes --requirement requirements-dev.txt
	@$(INSTALL_SELF)
	@touch $@

$(VENV)/.local-ready: local/requirements.txt .python-version
	@python="$$(sh local/find-python)" && "$$python" -m venv --clear $(VENV)
	@sh local/quietly "Installing Python packages into $(VENV), about 90 MB" \
		$(PYTHON) $(PIP) --require-hashes --requirement local/requirements.txt
	@$(INSTALL_SELF)
	@touch $@

# What runs in Azure is locked first, and what others have besides follows it.
lock: ## lock what pyproject.toml asks for
	@python="$$(sh local/find-python)" && "$$python" -m venv --clear $(LOCKER)
	@$(LOCKER)/bin/python $(PIP) 'uv ~= 0.13.9'
	@$(COMPILE) --output-file requirements.txt
	@$(COMPILE) --output-file requirements-dev.txt --all-extras --constraint requirements.txt
	@$(COMPILE) --output-file local/requirements.txt --extra local --constraint requirements-dev.txt
	@rm -rf $(LOCKER)

upgrade: UPGRADE := --upgrade
upgrade: lock ## lock the newest versions that fit

$(AZURITE_READY): local/package.json local/package-lock.json
	@sh local/check-node
	@sh local/quietly "Installing Azurite, the storage of local runs, into local/node_modules, about 400 MB" \
		npm ci --prefix local --no-audit --no-fund --loglevel=error
	@touch $@

$(CHECKOV_READY): infra/requirements-checkov.txt | $(PYTHON_READY)
	@$(PYTHON) -m venv --clear infra/.venv
	@sh local/quietly "Installing checkov, the policies on Bicep" infra/.venv/bin/python $(PIP) --requirement $<
	@touch $@

# No file to remember: whether it still starts is asked each time.
chromium:
	@sh local/find-chromium --install >/dev/null

clean: ## remove what was installed and cached
	rm -rf $(VENV) infra/.venv site local/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
