# Targets: `make help`. Recipes see the environment's programs first, so that DVC's stages find its python.
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

PYTHON ?= python3
NEWEST ?= python3.13
BATCH ?=
CORES := $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)
JOBS ?=
ENGINE ?=
SCALE ?=
SUITE ?=
UNTIL ?=
RERUN ?=
FRESH ?=
KILLS ?=
STAMP := $(VENV)/.installed
UV := $(shell command -v uv)
PYTHONS := $(shell sed -n 's/^requires-python = "\([^"]*\)".*/\1/p' pyproject.toml)

# What is written in lower case would be ignored.
refuse = $(if $(filter command,$(firstword $(origin $(1)))),$(error $(1)=$($(1)) is no argument of make; write $(2)=$($(1))))
$(foreach pair,jobs:JOBS engine:ENGINE batch:BATCH scale:SCALE suite:SUITE until:UNTIL rerun:RERUN fresh:FRESH kills:KILLS python:PYTHON,$(call \
	refuse,$(firstword $(subst :, ,$(pair))),$(lastword $(subst :, ,$(pair)))))

# What a target takes no notice of is refused too. A make that this one starts is told what this one was.
repro.takes := $(if $(FRESH),FRESH JOBS ENGINE,JOBS ENGINE BATCH SCALE SUITE UNTIL)
plan.takes := JOBS ENGINE SCALE SUITE UNTIL
evidence.takes := JOBS ENGINE
test.takes := JOBS
newest.takes := JOBS NEWEST
learns.takes := JOBS METHODS
fidelity.takes := JOBS
verify.takes := JOBS RERUN
drill.takes := JOBS KILLS
ifeq ($(MAKELEVEL),0)
$(foreach goal,$(MAKECMDGOALS),$(foreach name,JOBS ENGINE BATCH SCALE SUITE UNTIL FRESH RERUN KILLS METHODS NEWEST,$(if \
	$(and $(filter command,$(firstword $(origin $(name)))),$(filter-out $($(goal).takes),$(name))),$(error make $(goal) \
	takes no $(name); nearest valid choice: $(or $($(goal).takes),none)))))
endif

WITH = $(if $(JOBS),--jobs $(JOBS))
HOW = $(WITH) $(if $(ENGINE),--engine $(ENGINE))

.DEFAULT_GOAL := help
.PHONY: one-python help setup repro evidence test newest learns fidelity plan bench verify drill look audit lint clean cluster-drill

help:    ## this list
	@awk -F ':.*## ' '/^[a-z-]+: .*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)    ## an environment in .venv with the pinned versions

$(STAMP): pyproject.toml constraints.txt | one-python
ifdef UV
	uv venv --quiet --seed --allow-existing --python $(PYTHON) $(VENV)
	uv pip install --quiet --python $(VENV) -c constraints.txt -e '.[dev]'
else
	@$(PYTHON) -c 'import re, sys; low, high = map(int, re.findall(r"3\.(\d+)", "$(PYTHONS)")); \
		low <= sys.version_info[1] < high or sys.exit("$(PYTHON) is Python " + sys.version.split()[0] + ", not $(PYTHONS)")'
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
endif
	touch $@

one-python:
	@! test -x $(VENV)/bin/python || test "$$($(PYTHON) -V)" = "$$($(VENV)/bin/python -V)" || \
		{ echo "$(VENV) has $$($(VENV)/bin/python -V): make clean, then make setup PYTHON=$(PYTHON)" >&2; exit 2; }

repro: $(STAMP)    ## train what is stale, then tables and figures (JOBS=4 BATCH=4 SCALE=paper UNTIL=40000 SUITE=weights|ablation|crossings|finetune|networked|meta ENGINE=slurm|ray; FRESH=1: the grid anew beside the record, and compare)
ifdef FRESH
	@if test -d studies/fresh; then echo "studies/fresh is there and goes on; to begin anew: rm -r studies/fresh"; \
		else tom study fresh --anew; fi
	cd studies/fresh && tom repro $(HOW)
	tom verify --against studies/fresh
else
	tom repro $(HOW) $(if $(SUITE),--suite $(SUITE)) $(if $(BATCH),--batch $(BATCH)) $(if $(SCALE),--scale $(SCALE)) $(if $(UNTIL),--until $(UNTIL))
endif

evidence: $(STAMP)    ## train what is missing of the published protocol, at low priority, until it is stopped (JOBS=2); goes on where it was
	tom evidence $(HOW)

test: $(STAMP)    ## the tests, minutes (JOBS at a time)
	OMP_NUM_THREADS=1 python -m pytest -q -n $(or $(JOBS),$(CORES)) --dist loadfile --no-loadscope-reorder

newest: $(STAMP)    ## another Python in an environment of its own: digests, smoke runs, fast tests (NEWEST=python3.12)
	$(MAKE) --no-print-directory setup VENV=$(VENV)/newest PYTHON=$(NEWEST)
	tom check python $(VENV)/newest/bin/python --jobs $(or $(JOBS),$(CORES))

learns fidelity bench: $(STAMP)    ## `tom check`: does it learn (METHODS="ma maac")? numbers whose answer is known; times. Minutes each
	tom check $@ $(if $(filter learns,$@),$(METHODS)) $(WITH)

plan: $(STAMP)    ## what is stale, hours on this machine, disk; changes nothing (SCALE=paper UNTIL=40000 SUITE=weights ENGINE=slurm)
	tom plan $(HOW) $(if $(SUITE),--suite $(SUITE)) $(if $(SCALE),--scale $(SCALE)) $(if $(UNTIL),--until $(UNTIL))

verify: $(STAMP)    ## are the recorded results as recorded, and do tables and figures follow? (RERUN=2 trains two again)
	tom verify $(if $(RERUN),--rerun $(RERUN)) $(WITH)

drill: $(STAMP)    ## kills, full disks and other faults on real runs, half an hour or more (KILLS=100)
	tom check drill $(if $(KILLS),--kills $(KILLS)) $(WITH)

cluster-drill: $(STAMP)    ## a real Slurm and a real Ray of three nodes here, and what is done to them: root's, 20 minutes
	tom check cluster

look: $(STAMP)    ## reports/index.html in headless Chromium, an HTML validator, an accessibility check; asks npmjs.org
	test -d $(VENV)/look/node_modules || npm install --prefix $(VENV)/look --silent --no-fund --no-audit \
		html-validate@10.17.0 axe-core@4.14.1
	tom check look $(VENV)/look

audit: $(STAMP)    ## known vulnerabilities of the pinned versions; asks pypi.org
	python -m pip check
	test -x $(VENV)/audit/bin/pip-audit || $(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

lint: $(STAMP)    ## style and types
	ruff format --check .
	ruff check .
	mypy

clean:    ## remove the environment and caches; runs/ and reports/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find tom pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +
