# Everything runs in .venv, which `make install` creates.
# The first python3 that was compiled with optimizations: without them, as pyenv compiles it by
# default, programs take a seventh more CPU. A system's own, in /usr, does not say how it was compiled.
OPTIMIZED := import ensurepip, sys, sysconfig; sys.exit(sys.version_info < (3, 11) or sys.base_prefix != "/usr" \
	and "--enable-optimizations" not in str(sysconfig.get_config_var("CONFIG_ARGS")))
PYTHON ?= $(or $(shell for each in $$(which -a python3); do \
	$$each -c '$(OPTIMIZED)' 2>/dev/null && echo $$each && break; done),python3)
BIN := .venv/bin
PROTOS := $(wildcard proto/sessiongate/v1/*.proto)
RELEASED := proto/released.binpb
LOCK := $(BIN)/uv pip compile pyproject.toml --extra server --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header --quiet

.PHONY: help install demo demo-fleet run test pythons debian faults fleet-faults model soak check proto bench screenshots release-proto release-surface lock audit
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## Create .venv with everything that the other targets need

.venv/installed: .venv/serving
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# Only what the servers need.
.venv/serving: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	@touch $@

demo: .venv/demo-installed ## Show PostgreSQL, MariaDB and their proxies with clients that block each other
	@$(BIN)/python -m demo

demo-fleet: .venv/demo-installed ## Show two shards with a stand-by each, and kill an active core
	@$(BIN)/python -m demo --fleet

.venv/demo-installed: .venv/serving
	$(BIN)/python -m pip install --quiet --group demo
	@touch $@

run: .venv/serving ## Show this machine's sessions on http://localhost:8989/v1/sessions
	$(BIN)/sessiongate serve

# Without bytecode, each program that a test starts would compile the source again. Two processes
# begin with the tests that wait, and one with the browser (tests/conftest.py): five keep two cores
# busy.
test: export PYTHONDONTWRITEBYTECODE =
test: install ## Run the tests on two cores
	$(BIN)/python -m pytest --numprocesses 5 --dist worksteal

pythons: ## Run the core of the tests on each Python from 3.11 on that is found here
	$(PYTHON) -m tests.pythons $(ARGS)

debian: install ## Run the sources' tests with the servers of another Debian; SUITE=trixie
	$(BIN)/python -m tests.debian $(or $(SUITE),trixie) $(ARGS)

faults: install ## Run the long fault-injection tests; update figures in docs/reliability.md
	@rm -f .figures
	FAULTS=full FAULTS_FIGURES=.figures $(BIN)/python -m pytest tests/faults --ignore tests/faults/test_soak.py
	$(BIN)/python -m tests.faults.report .figures docs/reliability.md faults

fleet-faults: install ## Let 150 random faults befall a fleet; go on by FAULTS_SEED=N FAULTS_FIRST=N
	FAULTS=full $(BIN)/python -m pytest -n 0 -s tests/faults/test_fleet.py

model: install ## Run 100,000 schedules of the fleet's model; go on by ARGS="SCHEDULES SEED PART"
	$(BIN)/python -m tests.model $(ARGS)

soak: install ## Check for leaks under ten minutes of churn; update figures in docs/reliability.md
	@rm -f .figures
	FAULTS=full FAULTS_FIGURES=.figures $(BIN)/python -m pytest --capture no tests/faults/test_soak.py
	$(BIN)/python -m tests.faults.report .figures docs/reliability.md soak

check: install ## Check style, types, the contract's compatibility and generated files
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

lock: install ## Pin and hash the deployed packages in requirements.txt
	$(LOCK) --upgrade -o requirements.txt

audit: install ## Check the deployed packages for known vulnerabilities
	@report=$$(mktemp) && trap 'rm -f "$$report"' EXIT && \
	if $(BIN)/pip-audit --requirement requirements.txt --require-hashes --disable-pip \
	--progress-spinner off --output "$$report" 2>/dev/null; then cat "$$report"; \
	elif [ -s "$$report" ]; then cat "$$report"; exit 1; \
	else echo "skipped: pip-audit: no index with vulnerability data responds"; fi

proto: install ## Regenerate the Python modules of the contract
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTOS)

release-proto: install ## Record the current contract as the last released one
	$(BIN)/buf build --as-file-descriptor-set --exclude-source-info -o $(RELEASED)

release-surface: install ## Record the current names, of settings to metrics, as the last released ones
	$(BIN)/python -m tests.surface

release: .venv/release-installed ## Build everything that is released, from the last commit, into dist/
	$(BIN)/python -m release $(ARGS)

release-test: .venv/release-installed ## As root: install what is released on fresh Debian systems, in namespaces
	RELEASE=full $(BIN)/python -m pytest -n 0 tests/release

.venv/release-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --group release
	@touch $@

bench: .venv/bench-installed ## Run the benchmarks into bench/RESULTS.md; a part with ARGS="--quick --only one-session"
	$(BIN)/python -m bench $(ARGS)

screenshots: install ## Take the pictures of the page in docs/, from the demonstration
	$(BIN)/python -m bench.screenshots $(ARGS)

.venv/bench-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@
