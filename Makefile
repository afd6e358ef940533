# Every command here works on a bare Debian 12; what it needs is made in .venv, once.

SHELL := /bin/sh
VENV := .venv/bin
STAMP := .venv/.made-from-setup.cfg
# Six, since most tests wait more than they work; one test at a time, so that no worker gets all the long ones.
# With bytecode, since each of the processes compiles all modules without.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(VENV)/python -m pytest -n 6 --maxschedchunk=1

.DEFAULT_GOAL := help
.PHONY: help demo dev test long torture contract check lint docs bench clean programs

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' Makefile | awk -F'#' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: $(STAMP) ## a sample mailbox becomes rows, on this machine, in a few seconds
	@$(VENV)/mailsync demo

dev: $(STAMP) ## API and worker in this terminal, with a Postgres of their own
	@$(VENV)/mailsync dev

test: $(STAMP) programs ## the tests, against real servers; all but the long ones
	@$(PYTEST) -m "not long"

long: $(STAMP) programs ## the tests that take ten seconds or more
	@$(PYTEST) -m long

torture: $(STAMP) programs ## some minutes of random mail clients against the mirror (ARGS="--seed 7")
	@$(VENV)/python -m tests.model.torture $(ARGS)

contract: $(STAMP) programs ## the API against its description, for long (EXAMPLES=100 SEED=1)
	@CONTRACT_EXAMPLES=$(or $(EXAMPLES),100) CONTRACT_SEED=$(SEED) $(VENV)/python -m pytest -q -rP tests/acceptance/web/test_contract.py

check: lint docs test long ## what CI runs: style, types, layers, documentation, all tests

lint: $(STAMP)
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy --strict mailsync
	$(VENV)/python -m pytest -q tests/unit/test_layers.py

docs: $(STAMP) ## the documentation as HTML in build/docs; a warning is an error
	@$(VENV)/sphinx-build -q -n -W --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

bench: $(STAMP) programs ## first syncs, scans, ticks, databases that have lived (ARGS="--only lived-in")
	@env -u PYTHONDONTWRITEBYTECODE $(VENV)/python -m tests.benchmarks.run $(ARGS)

clean: ## remove .venv and all that was built (not .mailsync, which holds data of make dev)
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An ordinary user goes on without them: the tests say how many of them are left out.
programs:
	@PATH="$$PATH:/usr/sbin:/sbin:$$(echo /usr/lib/postgresql/*/bin | tr ' ' :)"; missing=; \
	for each in dovecot:dovecot-imapd systemd-analyze:systemd curl:curl jq:jq psql:postgresql-client initdb:postgresql; do \
	command -v $${each%:*} >/dev/null 2>&1 || missing="$$missing $${each#*:}"; done; \
	[ -z "$$missing" ] || [ "$$(id -u)" != 0 ] || .ci/apt-install $$missing || true

$(STAMP): setup.cfg
	@.ci/make-venv
	@touch $@
