# Everything starts here. Nothing but make and Python 3.11 or newer is asked of the machine.

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PIP_QUIETLY := --quiet --disable-pip-version-check --retries 2
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# The first Python that is new enough; `make PYTHON=/path/to/python …` names another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$candidate" && break; done)

# Images set it to save space. But what starts here are dozens of processes, and each would compile all that it imports:
# three quarters of the time that it takes them to start.
unexport PYTHONDONTWRITEBYTECODE

# The demo: a day passes in so many seconds, so that labels mature while one watches.
DAY_SECONDS ?= 2
CUSTOMERS ?= 5000

.PHONY: help
help:
	@echo "make demo     start the whole system here and send it simulated customers; Ctrl-C stops it"
	@echo "make test     pass the tests"
	@echo "make check    lint, types, import rules"
	@echo "make bench    measure; make bench-<name> for one of: $(BENCHES)"
	@echo "make docs     write the reference pages from the code"
	@echo "make screenshots  take the pictures of README in a browser"
	@echo "make install  set up what the system needs, and stop there (make dev: what tests and checks need too)"
	@echo "make lock     pin the newest versions of everything"
	@echo "make clean    remove what make has made (data: .venv/bin/ebb reset)"

.PHONY: demo
demo: install
	@exec $(BIN)/ebb up --day-seconds $(DAY_SECONDS) --customers $(CUSTOMERS) $(UP)

# So many test processes side by side, each with a broker and an engine of its own; a file's tests stay in one of them.
# Most tests wait for other processes: two use two cores well.
JOBS ?= 2

.PHONY: test
test: dev
	@$(BIN)/ebb fetch
	$(BIN)/pytest -W error --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

.PHONY: screenshots
screenshots: dev
	@$(BIN)/ebb fetch
	SCREENSHOTS=docs/images $(BIN)/pytest -W error --quiet tests/browser/test_screenshots.py

.PHONY: check lint types rules
check: dev
	@$(MAKE) --no-print-directory --jobs 2 types lint rules
lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
types:
	$(BIN)/mypy
rules:
	$(BIN)/lint-imports

# benchmarks/<name>.py is `make bench-<name>`; a leading underscore marks what they share.
BENCHES := $(sort $(filter-out _%,$(basename $(notdir $(wildcard benchmarks/*.py)))))
.PHONY: bench
bench: $(addprefix bench-,$(BENCHES))
bench-%: dev
	$(BIN)/python -m benchmarks.$*

.PHONY: docs
docs: dev
	$(BIN)/ebb docs

.PHONY: clean
clean:
	rm -rf $(VENV) build ebb.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Set-up. A stamp is newer than the list of pins that it stands for, so the next time is instant.

.PHONY: install dev
install: $(VENV)/runtime.stamp ; @:
dev: $(VENV)/dev.stamp ; @:

$(BIN)/python:
	@if ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "Ebb needs Python 3.11 or newer, and '$(or $(PYTHON),python3)' is none: install one, or name it by 'make PYTHON=/path/to/python …'." >&2; \
		exit 1; fi
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; \
		exit 1; }

# uv installs in seconds what takes pip minutes, but reads no pip.conf; where it cannot be had or reaches nothing, pip does it.
$(VENV)/uv.stamp: requirements/bootstrap.txt | $(BIN)/python
	@if $(BIN)/python -m pip install $(PIP_QUIETLY) --require-hashes -r $<; then touch $@; \
		else echo "uv cannot be installed; going on with pip." >&2; fi

define INSTALL
@echo "Installing what $< pins …"
@if test -x $(UV) && $(UV) pip install --python $(BIN)/python --require-hashes -r $<; then :; \
	elif $(BIN)/python -m pip install $(PIP_QUIETLY) --require-hashes -r $<; then :; \
	else echo "The Python packages that $< pins cannot be installed: connect this machine to a package index for the first set-up (behind a proxy set HTTPS_PROXY), then run make again." >&2; \
		exit 1; fi
@$(BIN)/python -m pip install $(PIP_QUIETLY) --no-deps --no-build-isolation --editable .
@echo "Compiling what has to be quick …"
@$(BIN)/python -c "import stream_processors.app"
endef

$(VENV)/runtime.stamp: requirements/runtime.txt pyproject.toml | $(VENV)/uv.stamp
	$(INSTALL)
	@touch $@

# What dev.txt pins includes all that runtime.txt does, at the same versions.
$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(VENV)/uv.stamp
	$(INSTALL)
	@touch $(VENV)/runtime.stamp $@

PEERS := $(basename $(notdir $(wildcard benchmarks/_peers/requirements/*.in)))
.PHONY: lock
lock: dev
	$(COMPILE) --upgrade requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) --upgrade requirements/runtime.in -o requirements/runtime.txt
	$(COMPILE) --upgrade requirements/dev.in -o requirements/dev.txt
	@for peer in $(PEERS); do $(COMPILE) --upgrade benchmarks/_peers/requirements/$$peer.in \
		-o benchmarks/_peers/requirements/$$peer.txt || exit 1; done
	$(BIN)/python -m ebb_cli.local.jars
