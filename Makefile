# Everything runs in .venv, which `make install` creates.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard proto/sessiongate/v1/*.proto)
RELEASED := proto/released.binpb

.PHONY: help install run test check proto bench release-proto
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## Create .venv with everything that the other targets need

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[server]' --group dev
	@touch $@

run: install ## Show this machine's sessions on http://localhost:8989/v1/sessions
	$(BIN)/sessiongate serve

test: install ## Run the tests
	$(BIN)/python -m pytest

check: install ## Lint, types, and that the contract is what it says and breaks nobody
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against $(RELEASED)
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=$$tmp --pyi_out=$$tmp --grpc_python_out=$$tmp $(PROTOS) && \
	for file in $$(cd $$tmp && find . -type f); do diff -u proto/$$file $$tmp/$$file || { echo "run: make proto"; exit 1; }; done

proto: install ## Generate the Python modules of the contract again
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTOS)

release-proto: install ## Take the contract as it stands for the last released one
	$(BIN)/buf build --as-file-descriptor-set --exclude-source-info -o $(RELEASED)

bench: install ## Measure (nothing yet)
	@echo "nothing to measure yet"
