# Every habit is a target here. The machine needs make and Python 3.11 or newer, nothing else.

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PIP_QUIETLY := --quiet --disable-pip-version-check --retries 2
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# The first Python that is new enough; `make PYTHON=/path/to/python …` names another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$candidate" && break; done)

# Container images set it to save space. But dozens of processes start here, and each would compile all its imports,
# which takes three quarters of its start.
unexport PYTHONDONTWRITEBYTECODE

# The demo: a day takes so many seconds, so that labels mature within minutes.
DAY_SECONDS ?= 2
CUSTOMERS ?= 5000

.PHONY: help
help:
	@echo "make demo     start the whole system here and send it simulated customers; Ctrl-C stops it"
	@echo "make test     run the tests"
	@echo "make check    lint, types, import rules"
	@echo "make bench    run the benchmarks; make bench-<name> runs one of: $(BENCHES)"
	@echo "make docs     write the reference pages from the code"
	@echo "make screenshots  take the pictures of README in a browser"
	@echo "make install  install what the system needs (make dev: also what tests and checks need)"
	@echo "make lock     pin the newest versions of all packages and of Kafka's jars"
	@echo "make clean    remove the virtual environment and caches (the data: .venv/bin/ebb reset)"

.PHONY: demo
demo: install
	@exec $(BIN)/ebb up --day-seconds $(DAY_SECONDS) --customers $(CUSTOMERS) $(UP)

# Number of parallel test processes, each with a broker and an engine of its own; a file's tests stay in one process.
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

# benchmarks/<name>.py is `make bench-<name>`; a leading underscore marks shared modules.
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

# Set-up. A stamp file newer than its list of pins marks it as installed, so the next run is instant.

.PHONY: install dev
install: $(VENV)/runtime.stamp ; @:
dev: $(VENV)/dev.stamp ; @:

$(BIN)/python:
	@if ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "Ebb needs Python 3.11 or newer, and '$(or $(PYTHON),python3)' is not: install one, or name it by 'make PYTHON=/path/to/python …'." >&2; \
		exit 1; fi
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot create a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; \
		exit 1; }

# uv installs in seconds what takes pip minutes, but reads no pip.conf; where uv cannot be installed or fails, pip is used.
$(VENV)/uv.stamp: requirements/bootstrap.txt | $(BIN)/python
	@if $(BIN)/python -m pip install $(PIP_QUIETLY) --require-hashes -r $<; then touch $@; \
		else echo "uv cannot be installed; using pip instead." >&2; fi

define INSTALL
@echo "Installing the packages of $< …"
@if test -x $(UV) && $(UV) pip install --python $(BIN)/python --require-hashes -r $<; then :; \
	elif $(BIN)/python -m pip install $(PIP_QUIETLY) --require-hashes -r $<; then :; \
	else echo "The Python packages of $< cannot be installed: connect this machine to a package index for the first set-up (behind a proxy set HTTPS_PROXY), then run make again." >&2; \
		exit 1; fi
@$(BIN)/python -m pip install $(PIP_QUIETLY) --no-deps --no-build-isolation --editable .
@echo "Compiling native code …"
@$(BIN)/python -c "import stream_processors.app"
endef

$(VENV)/runtime.stamp: requirements/runtime.txt pyproject.toml | $(VENV)/uv.stamp
	$(INSTALL)
	@touch $@

# dev.txt pins all packages of runtime.txt, at the same versions.
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
