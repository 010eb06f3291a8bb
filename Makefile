# make demo: see it work. make test: lint, types, tests. make bench: measure. Each sets up what it needs.

.DELETE_ON_ERROR:
.PHONY: demo test bench lint format clean setup chromium

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTHON_READY := $(VENV)/.ready
AZURITE_READY := local/node_modules/.ready
CHECKOV_READY := infra/.venv/.ready

demo: setup
	@$(PYTHON) -m local demo

test: setup $(CHECKOV_READY) chromium lint
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest

bench: setup
	@$(PYTHON) -m benchmarks

lint: $(PYTHON_READY)
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check

format: $(PYTHON_READY)
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

setup: $(PYTHON_READY) $(AZURITE_READY)

$(PYTHON_READY): requirements.txt requirements-dev.txt .python-version
	@python="$$(sh local/find-python)" && echo "Setting up $(VENV) with $$python" \
		&& "$$python" -m venv --clear $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

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
	rm -rf $(VENV) infra/.venv local/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
