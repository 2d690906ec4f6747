# From a fresh clone: `make demo` ends on the comparison page, `make test` runs every check.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.PHONY: help setup demo test lint ui lock clean benchmarks
help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Seedbed needs Python 3.11: make PYTHON=/path/to/python3.11 setup")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY)  ## make .venv with the locked requirements

demo: setup  ## sample data, the whole pipeline, the comparison page
	seedbed data sample
	dvc repro
	@seedbed where

test: lint  ## all checks and tests
	python -m pytest -n 2 --dist worksteal

lint: setup  ## formatting, lint and types
	ruff check .
	ruff format --check .
	mypy

ui: setup  ## MLflow UI on 127.0.0.1:5000 for the runs in mlflow.db
	mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///$(CURDIR)/mlflow.db

benchmarks: setup  ## every side-by-side timing
	python -m benchmarks

lock:  ## compile requirements.lock from the ranges in pyproject.toml
	uv pip compile pyproject.toml --extra dev --generate-hashes --python-version 3.11 --no-emit-index-url \
		--upgrade-package torch==2.14.1 --upgrade-package torchvision==0.29.1 -o requirements.lock

clean:  ## remove what the pipeline made (not data/, .venv, DVC's cache, or the metrics in git)
	rm -rf maps models/saliency models/localiser models/segmenter .seedbed studies reports/index.html \
		reports/runs reports/study reports/confusion reports/data reports/plots build .pytest_cache .mypy_cache .ruff_cache
