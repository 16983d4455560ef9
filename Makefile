# `make` lists the targets. Nothing but Python 3.11-3.13 with venv and make is needed beforehand.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
STORE ?= sqlite:///var/newsbert.sqlite
SNAPSHOTS ?= var/snapshots
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test test-all check format bench bench-service bench-ranking bench-encoder test-avx2 train-sample train-bundle results clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/installed-service: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the service (a minute or two, once)"
	@$(PIP) --editable '.[service]'
	@touch $@

$(VENV)/installed-all: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing service, training, export and development tools (a few minutes, once)"
	@$(PIP) --editable '.[service,training,export,dev]'
	@touch $@ $(VENV)/installed-service

run: $(VENV)/installed-service ## serve the bundled student and the sample catalogue on 127.0.0.1:8000
	@mkdir -p var
	@$(BIN)/newsbert refresh samples/articles.jsonl --behaviors samples/mind/train/behaviors.tsv --store $(STORE)
	@NEWSBERT_SNAPSHOTS=$(SNAPSHOTS) exec $(BIN)/newsbert serve --store $(STORE) --port $(PORT)

test: check ## install everything, check and test it; Redis tests on a real redis-server
	@$(BIN)/python -m pytest -m 'not slow and not cluster'

test-all: check ## test, more kills, Redis Cluster (up to an hour)
	@$(BIN)/python -m pytest

test-avx2: $(VENV)/installed-all ## the bundle on an emulated processor without AVX-512 (needs qemu-user-static)
	@command -v qemu-x86_64 qemu-x86_64-static >/dev/null || { echo "needs QEMU 7.2 or later: apt-get install qemu-user-static" >&2; exit 2; }
	@$(BIN)/python -m pytest tests/contract/test_avx2.py

check: $(VENV)/installed-all ## formatting, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

format: $(VENV)/installed-all ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/installed-all ## measure and write benchmarks/results/ (needs wrk; TEACHER=DIR_OR_HUB_ID DATA=DIR)
	@$(MAKE) --no-print-directory bench-service bench-encoder
	@$(MAKE) --no-print-directory bench-ranking
	@$(BIN)/python -m benchmarks.reading
	@$(if $(and $(TEACHER),$(DATA)),$(BIN)/python -m benchmarks.training --teacher $(TEACHER) --data $(DATA),echo "benchmarks.training needs TEACHER and DATA: left out")

bench-service: $(VENV)/installed-all ## requests a second beside a yardstick, and where their time goes, on a quiet machine (needs wrk)
	@$(BIN)/python -m benchmarks.service --seconds 5 --rounds 5

bench-ranking: $(VENV)/installed-all ## what index, stories and diversity find and lose (DATA=DIR; without it made-up articles and samples only)
	@$(BIN)/python -m benchmarks.retrieval $(if $(DATA),--data $(DATA))
	@$(BIN)/python -m benchmarks.stories $(if $(DATA),--data $(DATA))
	@$(if $(DATA),$(BIN)/python -m benchmarks.diversity --data $(DATA),echo "benchmarks.diversity needs DATA: left out")

bench-encoder: $(VENV)/installed-all ## encoders beside public packages, on a quiet machine (TEACHER=DIR_OR_HUB_ID DATA=DIR CHECKPOINT=DIR)
	@$(BIN)/python -m benchmarks.encoder $(if $(TEACHER),--teacher $(TEACHER)) $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) \
	  $(if $(DATA),--texts $(DATA)/mind/train/news.tsv --texts $(DATA)/mind/dev/news.tsv)

train-sample: $(VENV)/installed-all ## a quick model from samples/ alone, exported to var/sample-bundle
	@$(BIN)/newsbert train --config training/configs/sample.toml --train samples/mind/train --dev samples/mind/dev --out runs/sample --resume
	@$(BIN)/newsbert export runs/sample --dev samples/mind/dev --out var/sample-bundle
	@$(BIN)/newsbert evaluate var/sample-bundle --mind samples/mind/dev

train-bundle: $(VENV)/installed-all ## rebuild bundles/newsbert from the data at DATA=DIR (resumes; about an hour)
	@test -d "$(DATA)/mind/train" || { echo "usage: make train-bundle DATA=DIR [TEACHER=DIR_OR_HUB_ID]" >&2; exit 2; }
	@$(BIN)/newsbert train --config training/configs/best.toml --train $(DATA)/mind/train --dev $(DATA)/mind/dev \
	  --topics $(DATA)/topics/huffpost.jsonl --topics $(DATA)/topics/tagmynews.tsv \
	  --texts $(DATA)/topics/headlines.txt --search $(DATA)/search \
	  --out runs/bundle --resume $(if $(TEACHER),--teacher $(TEACHER))
	@$(BIN)/newsbert export runs/bundle --dev $(DATA)/mind/dev --out bundles/newsbert

results: $(VENV)/installed-all ## every experiment on the data at DATA=DIR, then docs/results/training.md (resumes; hours)
	@test -d "$(DATA)/mind/train" || { echo "usage: make results DATA=DIR [TEACHER=DIR_OR_HUB_ID]" >&2; exit 2; }
	@$(BIN)/python -m training.study run --data $(DATA) $(if $(TEACHER),--teacher $(TEACHER)); failed=$$?; \
	  $(BIN)/python -m training.study page && exit $$failed

clean: ## remove what was built and run, keep the environment
	@rm -rf var build .mypy_cache .ruff_cache .pytest_cache
