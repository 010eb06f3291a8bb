# make demo: see it work. make test: lint, types, tests. make bench: measure. Each sets up what it needs.
# make generate: write what is made from code. make docs, docs-serve: the site.
# make lock: lock what pyproject.toml asks for. make upgrade: the same, with the newest versions that fit.

.DELETE_ON_ERROR:
.PHONY: demo test bench lint format generate docs docs-serve clean setup chromium lock upgrade

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTHON_READY := $(VENV)/.ready
AZURITE_READY := local/node_modules/.ready
CHECKOV_READY := infra/.venv/.ready
LOCKER := $(VENV)/locker
MKDOCS := NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs
# For every platform, with the hashes of every file of a version, and with no address of a package index.
COMPILE = UV_PYTHON_DOWNLOADS=never $(LOCKER)/bin/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python $(LOCKER)/bin/python --custom-compile-command "make lock" $(UPGRADE) pyproject.toml

demo: setup
	@$(PYTHON) -m local demo

test: setup $(CHECKOV_READY) chromium lint
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest --numprocesses=auto --dist=loadfile

bench: setup
	@$(PYTHON) -m benchmarks

lint: $(PYTHON_READY) docs
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@rooms="$$(PYTHONPATH=. $(VENV)/bin/lint-imports --no-cache)" || { echo "$$rooms"; exit 1; }
	@$(PYTHON) -m infra.bicep

format: $(PYTHON_READY)
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

generate: $(PYTHON_READY)
	@$(PYTHON) -m infra.tables
	@$(PYTHON) -m infra.sentinel.analytic_rules
	@$(PYTHON) -m generate

docs: $(PYTHON_READY)
	@built="$$($(MKDOCS) build 2>&1)" || { echo "$$built"; exit 1; }  # --quiet would not count warnings

docs-serve: $(PYTHON_READY)
	@$(MKDOCS) serve

setup: $(PYTHON_READY) $(AZURITE_READY)

$(PYTHON_READY): requirements-dev.txt .python-version
	@python="$$(sh local/find-python)" && echo "Setting up $(VENV) with $$python" \
		&& "$$python" -m venv --clear $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@touch $@

# What runs in Azure is locked first, and what a developer has besides follows it.
lock:
	@python="$$(sh local/find-python)" && "$$python" -m venv --clear $(LOCKER)
	@$(LOCKER)/bin/python -m pip install --quiet --disable-pip-version-check 'uv ~= 0.13.9'
	@$(COMPILE) --output-file requirements.txt
	@$(COMPILE) --output-file requirements-dev.txt --all-extras --constraint requirements.txt
	@rm -rf $(LOCKER)

upgrade: UPGRADE := --upgrade
upgrade: lock

$(AZURITE_READY): local/package.json local/package-lock.json
	@sh local/check-node
	@echo "Installing Azurite, the storage of local runs"
	@npm ci --prefix local --no-audit --no-fund --loglevel=error
	@touch $@

$(CHECKOV_READY): infra/requirements-checkov.txt | $(PYTHON_READY)
	@echo "Installing checkov, the policies on Bicep"
	@$(PYTHON) -m venv --clear infra/.venv
	@infra/.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# No file to remember: whether it still starts is asked each time.
chromium:
	@sh local/find-chromium --install >/dev/null

clean:
	rm -rf $(VENV) infra/.venv site local/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
