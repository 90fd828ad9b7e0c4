# make demo        a quick search on scikit-learn's digits, and its ranking
# make test        the tests that take seconds
# make test-slow   the tests of whole searches: kills, lost nodes, damage, full disks
# make lint        ruff and mypy
# make docs        write docs/settings.md from the strings under the settings' fields

PYTHON ?= python3
BIN := .venv/bin
# Two tests at a time. What a file of fast tests sets up is used by all of them, so they stay in one process; of slow
# tests, only those of a group do.
FAST := -n 2 --dist loadfile -m "not slow"
SLOW := -n 2 --dist loadgroup -m slow --durations=10

.PHONY: demo test test-slow lint docs clean

demo: .venv/installed
	$(BIN)/alphaprune run quickstart

test: .venv/installed-dev
	$(BIN)/python -m pytest $(FAST)

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest $(SLOW)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-dev
	$(BIN)/python -m search.setting_help > docs/settings.md

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# torch brings its CUDA libraries with it: about 6 GB.
.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "alphaprune needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
