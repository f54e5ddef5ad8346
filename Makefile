VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: check
check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
