# Every target works on a bare Debian 12. What it needs is installed in .venv, once.

SHELL := /bin/sh
VENV := .venv/bin
# A stamp for each set of packages: to run mailsync, and to test it as well.
INSTALLED := .venv/.made-from-setup.cfg
TOOLS := .venv/.test-tools-from-setup.cfg
# Six workers, because most tests wait more than they compute. One test at a time, so that the long ones spread
# over the workers. With bytecode, because otherwise each process would compile every module again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(VENV)/python -m pytest -n 6 --maxschedchunk=1

.DEFAULT_GOAL := help
.PHONY: help demo dev test long torture contract check lint docs bench clean programs

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' Makefile | awk -F'#' '{ printf "%-15s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## watch a sample mailbox become rows, on this machine, in a few seconds
	@$(VENV)/mailsync demo

dev: $(INSTALLED) ## run the API and the worker in this terminal, with an embedded Postgres
	@$(VENV)/mailsync dev

test: $(TOOLS) programs ## run the tests against real servers, except the long ones
	@$(PYTEST) -m "not long"

long: $(TOOLS) programs ## run the tests that take ten seconds or more
	@$(PYTEST) -m long

torture: $(TOOLS) programs ## run random mail clients against the mirror for some minutes (ARGS="--seed 7")
	@$(VENV)/python -m tests.model.torture $(ARGS)

contract: $(TOOLS) programs ## test the API against its OpenAPI description at length (EXAMPLES=100 SEED=1)
	@CONTRACT_EXAMPLES=$(or $(EXAMPLES),100) CONTRACT_SEED=$(SEED) $(VENV)/python -m pytest -q -rP tests/acceptance/web/test_contract.py

check: lint docs test long ## run what CI runs: style, types, layers, documentation, all tests

lint: $(TOOLS)
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy --strict mailsync
	$(VENV)/python -m pytest -q tests/unit/test_layers.py

docs: $(TOOLS) ## build the documentation as HTML in build/docs; a warning is an error
	@$(VENV)/sphinx-build -q -n -W --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

bench: $(TOOLS) programs ## measure first syncs, scans, ticks, push and aged databases (ARGS="--only push")
	@env -u PYTHONDONTWRITEBYTECODE $(VENV)/python -m tests.benchmarks.run $(ARGS)

clean: ## remove .venv and everything built, but not .mailsync, the data of make dev
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Only root can install these. For other users, the tests that need a missing program are left out and counted.
programs:
	@PATH="$$PATH:/usr/sbin:/sbin:$$(echo /usr/lib/postgresql/*/bin | tr ' ' :)"; missing=; \
	for pair in dovecot:dovecot-imapd systemd-analyze:systemd curl:curl jq:jq psql:postgresql-client initdb:postgresql; do \
	command -v $${pair%:*} >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; done; \
	[ -z "$$missing" ] || [ "$$(id -u)" != 0 ] || .ci/apt-install $$missing || true

$(INSTALLED): setup.cfg
	@.ci/make-venv
	@touch $@

$(TOOLS): $(INSTALLED)
	@echo "Installing the test tools into .venv" >&2
	@$(VENV)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
