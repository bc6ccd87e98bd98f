# make setup   what bareboat needs on this machine, and .venv/bin/bareboat itself
# make demo    first contact: a real two-node Slurm, an image, an MPI program in it
# make test    lint, the C tests and all of pytest
# make lint    only what reads the code
# make matrix  every cell of docs/matrix.md, judged and run; writes that page (`make test` runs a third of the cells)
# make fuzz    each fuzz target for SECONDS_EACH seconds (60)
# make clean   .venv and everything that is built here (images stay in their cache)

PYTHON = .venv/bin/python
SECONDS_EACH = 60

.PHONY: setup demo test lint check-c check-python matrix fuzz clean

setup:
	@.ci/setup

demo: setup
	@.venv/bin/bareboat demo

test: lint check-c check-python

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict
	$(PYTHON) -m mypy --strict --explicit-package-bases setup.py tests

check-c: setup
	$(MAKE) -C tests/c
	$(MAKE) -C tests/fuzz

matrix: setup
	$(PYTHON) -m pytest tests/matrix -m 'optin or not optin'

fuzz: setup
	$(MAKE) -C tests/fuzz fuzz SECONDS_EACH=$(SECONDS_EACH)

# Last, so that pytest's closing line is the last line.
check-python: lint check-c
	$(PYTHON) -m pytest

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis launcher/_core.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	if [ -f tests/c/Makefile ]; then $(MAKE) -C tests/c clean; fi
