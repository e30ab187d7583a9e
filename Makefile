# Every target sets up the virtual environment that it needs; no other step is necessary.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.ready

.PHONY: setup demo test check lint results constraints clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Secateurs needs Python 3.10 or later: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt torch==2.13.0
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[all,dev,zoo]'
	touch $@

demo: setup
	$(VENV)/bin/secateurs demo

# Lint, types and all tests.
test: lint
	$(VENV)/bin/python -m pytest -n auto --dist worksteal

# Lint, types and the fast tests.
check: lint
	$(VENV)/bin/python -m pytest -n auto --dist worksteal -m "not slow"

lint: setup
	$(VENV)/bin/ruff check src tests benchmarks docs
	$(VENV)/bin/ruff format --check src tests benchmarks docs
	$(VENV)/bin/pyright

# benchmarks/RESULTS.md, from what `python -m benchmarks.real` measured.
results: setup
	$(VENV)/bin/python -m benchmarks.real.render

# The pinned versions, for every Python and platform at once.
constraints: setup
	$(VENV)/bin/python -m pip install -q uv
	echo torch==2.13.0 | $(VENV)/bin/uv pip compile --universal --python-version 3.10 --all-extras --no-annotate \
	    --custom-compile-command 'make constraints' -o constraints.txt pyproject.toml -

clean:
	rm -rf $(VENV) secateurs-demo build dist
