# make demo        a quick search on scikit-learn's digits, and its ranking
# make test        the tests that take seconds
# make test-slow   the tests of whole searches: kills, lost nodes, damage, full disks
# make lint        ruff and mypy
# make bench       speeds, beside those of what one would use instead: half an hour, with nothing else running
# make docs        write docs/settings.md from the strings under the settings' fields

PYTHON ?= python3
BIN := .venv/bin
# Two files of tests at a time: what a file sets up is used by all of its tests, so they stay in one process.
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test test-slow lint bench docs clean

demo: .venv/installed
	$(BIN)/alphaprune run quickstart

test: .venv/installed-dev
	$(TEST) -m "not slow"

test-slow: .venv/installed-dev
	$(TEST) -m slow --durations=10

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-dev
	set -e; for each in training inference overhead driver startup loading searchers early_signal; do \
	    $(BIN)/python benchmarks/$$each.py; done

docs: .venv/installed-dev
	$(BIN)/python -m search.setting_help > docs/settings.md

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "alphaprune needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# torch brings its CUDA libraries with it: about 6 GB.
.venv/installed: pyproject.toml | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch .venv/installed $@
