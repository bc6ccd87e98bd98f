# make setup   what bareboat needs on this machine, and .venv/bin/bareboat itself
# make demo    first contact: a real two-node Slurm, an image, an MPI program in it
# make test    lint, the C tests and all of pytest, in two runs side by side
# make lint    only what reads the code
# make matrix  every cell of docs/matrix.md, judged and run; writes that page (`make test` runs a third of the cells)
# make fuzz    each fuzz target for SECONDS_EACH seconds (60)
# make clean   .venv and everything that is built here (images stay in their cache)

PYTHON = .venv/bin/python
SECONDS_EACH = 60
# Tests that see nothing of the machine and leave nothing on it, and those that make what all see.
PURE = tests/unit tests/property
MACHINE = tests/matrix tests/integration tests/slurm

.PHONY: setup demo test lint check-c check-pure check-machine matrix fuzz clean

setup:
	@.ci/setup

demo: setup
	@.venv/bin/bareboat demo

# The two runs of pytest go side by side: the first computes, the second mostly waits for Slurm, and for longer.
test: lint check-c
	@$(MAKE) --jobs=2 check-pure check-machine
	@.ci/total build/check-pure.xml build/check-machine.xml

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

# Shown when it has ended: the other one is on the terminal.
check-pure: setup
	@$(PYTHON) -m pytest --junit-xml=build/check-pure.xml $(PURE) > build/check-pure.log 2>&1; status=$$?; cat build/check-pure.log; exit $$status

check-machine: setup
	$(PYTHON) -m pytest --junit-xml=build/check-machine.xml $(MACHINE)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis launcher/_core.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	if [ -f tests/c/Makefile ]; then $(MAKE) -C tests/c clean; fi
