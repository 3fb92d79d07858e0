# Everything runs in .venv, which `make install` creates.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard proto/sessiongate/v1/*.proto)
RELEASED := proto/released.binpb
LOCK := $(BIN)/uv pip compile pyproject.toml --extra server --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header --quiet

.PHONY: help install run test faults soak check proto bench release-proto lock audit
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## Create .venv with everything that the other targets need

.venv/installed: .venv/serving
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# What the servers need, and no more.
.venv/serving: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	@touch $@

run: .venv/serving ## Show this machine's sessions on http://localhost:8989/v1/sessions
	$(BIN)/sessiongate serve

test: install ## Run the tests, on two cores
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

faults: install ## Kill, stop and mistreat it, at length; figures go to docs/reliability.md
	@rm -f .figures
	FAULTS=full FAULTS_FIGURES=.figures $(BIN)/python -m pytest tests/faults --ignore tests/faults/test_soak.py
	$(BIN)/python -m tests.faults.report .figures docs/reliability.md faults

soak: install ## Let sessions and clients come and go for ten minutes: nothing grows; figures as well
	@rm -f .figures
	FAULTS=full FAULTS_FIGURES=.figures $(BIN)/python -m pytest --capture no tests/faults/test_soak.py
	$(BIN)/python -m tests.faults.report .figures docs/reliability.md soak

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
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && cp requirements.txt $$tmp && \
	if $(LOCK) -o $$tmp/requirements.txt 2>$$tmp/errors; then \
	diff -u requirements.txt $$tmp/requirements.txt || { echo "run: make lock"; exit 1; }; \
	else echo "skipped: requirements.txt against pyproject.toml: $$(head -n 1 $$tmp/errors)"; fi
	@$(MAKE) --no-print-directory audit

lock: install ## Pin and hash what is deployed, in requirements.txt
	$(LOCK) --upgrade -o requirements.txt

audit: install ## Look for known vulnerabilities in what is deployed
	@report=$$(mktemp) && trap 'rm -f "$$report"' EXIT && \
	if $(BIN)/pip-audit --requirement requirements.txt --require-hashes --disable-pip \
	--progress-spinner off --output "$$report" 2>/dev/null; then cat "$$report"; \
	elif [ -s "$$report" ]; then cat "$$report"; exit 1; \
	else echo "skipped: pip-audit: no index that knows of vulnerabilities answers here"; fi

proto: install ## Generate the Python modules of the contract again
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTOS)

release-proto: install ## Take the contract as it stands for the last released one
	$(BIN)/buf build --as-file-descriptor-set --exclude-source-info -o $(RELEASED)

bench: .venv/bench-installed ## Measure side by side, into bench/RESULTS.md; parts of it by ARGS="--quick --only one-session"
	$(BIN)/python -m bench $(ARGS)

.venv/bench-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@
