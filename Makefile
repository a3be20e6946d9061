# Needs make and Python 3.11 or newer; everything else goes into $(VENV). `make help` lists the commands.
VENV ?= .venv
PY ?= python3
CONSTRAINTS ?= constraints/cpu.txt
# Where a Linux machine without an NVIDIA driver may find PyTorch's CPU build: the ordinary index has the CUDA build
# alone, which is several GB. Ignored where it cannot be reached; `make TORCH_INDEX= test` turns it off.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# More for pytest: make test ARGS="-k sis -x"
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: $(STAMP)  ## set up, solve an epidemic game on a real network, and draw it
	@$(BIN)/python -m gamesim run graphon/sis gmfg-ppo -g graph=karate-club -g infection=1 -g recovery=0.1 \
		--iterations 100 --out $(DEMO) --resume
	@echo "$(CURDIR)/$(DEMO)/figures/convergence.png"

test: $(STAMP)  ## set up and run every test
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: style types imports  ## set up and check format, style, types and import rules

style: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports --no-logo --no-cache

docs: $(STAMP)  ## build the site: docs/_build/html/index.html
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "$(CURDIR)/docs/_build/html/index.html"

nightly: $(STAMP)  ## hours: slow studies, all pages as a reader types them, faults, bad input, mutants
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n 2 --dist worksteal $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m gamesim bench faults
	OMP_NUM_THREADS=1 $(BIN)/python -m gamesim bench fuzz
	$(MAKE) mutants

mutants: $(STAMP)  ## half an hour: small mistakes in the code, one by one, each of which a test must notice
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation $(ARGS)

fuzz: $(STAMP)  ## coverage-guided fuzzing of the parsers, five minutes each (needs the extra nightly)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m fuzzing.guided --seconds 300

golden: $(STAMP)  ## write the golden traces anew, naming what drifted; review the diff
	OMP_NUM_THREADS=1 $(BIN)/python tests/golden_traces.py

check: lint docs test  ## what must pass before a commit

install: $(STAMP)  ## set up alone: gamesim, editable, and what tests and lint need

clean:  ## remove what was built and cached, but neither the environment nor runs
	rm -rf build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path './$(VENV)' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment whose Python is gone is made anew; one that works is kept.
$(STAMP): pyproject.toml setup.cfg $(CONSTRAINTS) $(if $(shell $(BIN)/python -c 'print(1)' 2>/dev/null),,anew)
	@command -v $(PY) >/dev/null || { \
		echo "make: no $(PY) here; install Python 3.11 or newer, or name it: make PY=/path/to/python3" >&2; exit 1; }
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: gamesim needs Python 3.11 or newer, and $(PY) is not; name one: make PY=python3.12" >&2; exit 1; }
	@$(PY) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PY) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		clear=; if [ -f '$(VENV)/pyvenv.cfg' ]; then clear=--clear; fi; $(PY) -m venv $$clear '$(VENV)'; fi
	@index=; \
	if [ -n '$(TORCH_INDEX)' ] && [ "$$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia ] && ! command -v nvidia-smi >/dev/null; then \
		if $(BIN)/python -c '$(REACH)' '$(TORCH_INDEX)' 2>/dev/null; then index='--extra-index-url $(TORCH_INDEX)'; \
		else echo "going on without $(TORCH_INDEX), which cannot be reached"; fi; fi; \
	echo "installing gamesim and what it needs into $(VENV): a few minutes the first time"; \
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) $$index --editable '.[dev]'
	@touch $@

# Exits with 0 if the index answers within five seconds, whatever hangs.
REACH := import os, sys, threading, urllib.request as u; t = threading.Timer(5, os._exit, [1]); t.daemon = True; t.start(); \
	u.urlopen(u.Request(sys.argv[1].rstrip("/") + "/torch/", method="HEAD"), timeout=5)

.PHONY: help demo test lint style types imports docs nightly mutants fuzz golden check install clean anew
