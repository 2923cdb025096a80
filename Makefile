# The front panel. `make` lists what there is; each target sets up and builds what it
# needs. Everything made lies in build/.
#
# JOBS=n               how many jobs at once (all processors)
# PYTHON=...           the Python to build for (`python3`), taken when build/venv is made
# CORES="..."          what `make test-local` tests: scripts/test-local.sh --help
# FUZZ_SECONDS=n       how long each fuzzer runs (600)
# TRIES=n              how often a test may be run until it passes (1); each failure is shown
# PREFIX, DESTDIR      where `make install` puts things (/usr/local)
# V=1                  every test's line, every compiler's command

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 600
TRIES ?= 1
PREFIX ?= /usr/local
PY := build/venv/bin/python
VENV_PATH := $(CURDIR)/build/venv/bin:$(PATH)
DEV := build/dev
CORES ?=
V ?=

export JOBS FUZZ_SECONDS TRIES
# Tests run against what was just built, from wherever they start processes.
export PYTHONPATH := $(CURDIR)/$(DEV)/python
export PYTHONDONTWRITEBYTECODE := 1

# configure PRESET, build PRESET, ctest PRESET
configure = cmake --preset $(1) -DPython_EXECUTABLE=$(CURDIR)/$(PY) $(if $(V),,--log-level=WARNING) \
  > build/configure-$(1).log 2>&1 || { cat build/configure-$(1).log; exit 1; }
build = cmake --build build/$(1) --parallel $(JOBS) \
  $(if $(V),--verbose,$$([[ -t 1 ]] || echo -- --quiet))
ctest = ctest --test-dir build/$(1) --parallel $(JOBS) --output-on-failure \
  --no-tests=error --repeat until-pass:$(TRIES) $(if $(V),,| grep -vE '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ Test .*( Passed |\*\*\*Skipped))')
pytest = -m pytest -q --reruns $$(($(TRIES) - 1)) --max-suite-reruns 5 --rerun-show-tracebacks
# Starts the servers that tests talk to, and ends those that nobody else needs. Not by
# a python3 of pyenv's: it changes PATH, where a Python in a C++ test looks for itself.
with_servers = $(PY) scripts/services run --
# g++ 12's ThreadSanitizer does not know the address layout of newer kernels.
plain_addresses := $(shell setarch --addr-no-randomize true 2>/dev/null && \
  echo setarch --addr-no-randomize)

##@ See it

.PHONY: demo
demo: ## Sets up, builds, and shows the cache at work on real files
	@scripts/setup.sh demo
	@mkdir -p build
	@[[ -e $(DEV)/CMakeCache.txt ]] || { echo "Building, once: some minutes"; $(call configure,demo); }
	@$(call build,dev)
	@PATH="$(VENV_PATH)" scripts/demo.sh

##@ Check it

.PHONY: test
test: build ## Sets up, builds, and passes every test
	@$(with_servers) $(MAKE) test-cpp test-python test-wheel

.PHONY: test-cpp
test-cpp: build ## The C++ tests, and the installed package
	@echo "== C++ tests"
	@$(with_servers) $(call ctest,dev)

.PHONY: test-python
test-python: build ## The Python tests
	@echo "== Python tests"
	@$(with_servers) $(PY) $(pytest) python/tests

.PHONY: test-python-dev-mode
test-python-dev-mode: build ## Those of calls in Python's development mode
	@echo "== Python tests, -X dev"
	@$(PY) -X dev -W error $(pytest) $(addprefix python/tests/test_, \
	  binding.py calls.py coroutines.py coroutines_options.py failures.py \
	  faulthandler.py function_object.py import.py keys.py questions.py threads.py \
	  values.py)

.PHONY: test-wheel
test-wheel: setup ## `pip install .` in a clean environment, and a first call there
	@echo "== pip install"
	@scripts/test_wheel.sh

.PHONY: services-start services-stop services-status services-env services-logs
services-start: setup ## The real servers that tests need: docs/services.md
	@scripts/services start
services-stop services-status services-env services-logs: services-%:
	@scripts/services $*

.PHONY: test-python-matrix
test-python-matrix: setup ## A wheel for each Python that is there, and the tests with it
	@echo "== Python 3.10 to 3.13"
	@$(with_servers) scripts/python_matrix.sh $(if $(CI),--ends)

.PHONY: test-local
test-local: ## The Python tests of CORES="mongo redis sql s3 memory pickle", with their servers
	@scripts/test-local.sh $(CORES)

.PHONY: test-all-local test-external test-mongo-local test-redis-local test-sql-local
test-all-local: ## All of them
	@scripts/test-local.sh all
test-external: ## Those of MongoDB, Redis and SQL
	@scripts/test-local.sh external
test-mongo-local: ## Those of MongoDB
	@scripts/test-local.sh mongo
test-redis-local: ## Those of Redis
	@scripts/test-local.sh redis
test-sql-local: ## Those of SQL servers
	@scripts/test-local.sh sql

.PHONY: lint
lint: build ## Formats, includes, clang-tidy, ruff, shellcheck
	@scripts/lint.sh

.PHONY: type-check
type-check: build ## mypy --strict, stubs against the module, pyright as users run it
	@scripts/type_check.sh

.PHONY: asan
asan: setup ## Every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(call configure,asan)
	@$(call build,asan)
	@echo "== C++ tests under ASan and UBSan"
	@$(with_servers) $(call ctest,asan)
	@echo "== Python tests under ASan and UBSan"
	@$(with_servers) scripts/pytest_asan.sh build/asan

.PHONY: tsan
tsan: setup ## The C++ tests under ThreadSanitizer
	@$(call configure,tsan)
	@$(plain_addresses) $(call build,tsan)
	@echo "== C++ tests under TSan"
	@$(with_servers) $(plain_addresses) $(call ctest,tsan)

.PHONY: fuzz
fuzz: setup ## Each fuzzer for FUZZ_SECONDS (600)
	@$(call configure,fuzz)
	@$(call build,fuzz)
	@scripts/fuzz.sh build/fuzz

##@ Measure it

.PHONY: bench
bench: ## Speed, against floors and rivals: a table and build/bench/results.jsonl
	@scripts/setup.sh bench
	@$(MAKE) build
	@PATH="$(VENV_PATH)" scripts/bench.sh

.PHONY: trials
trials: build ## Races, kills and forks: a table and build/trials/results.jsonl
	@PATH="$(VENV_PATH)" scripts/trials.sh

##@ Work on it

.PHONY: setup
setup: ## What is needed, by apt and pip; done once
	@scripts/setup.sh

.PHONY: build
build: setup ## Everything, in build/dev
	@$(call configure,dev)
	@$(call build,dev)

.PHONY: format
format: setup ## Formats C++ and Python in place
	@scripts/format.sh

.PHONY: install
install: ## The library, its headers and the command line into PREFIX
	@scripts/setup.sh demo
	@cmake -S . -B build/release -G Ninja -DCMAKE_BUILD_TYPE=Release \
	  -DCACHIER_BUILD_TESTS=OFF -DCMAKE_INSTALL_PREFIX=$(PREFIX) \
	  > build/configure-release.log || { cat build/configure-release.log; exit 1; }
	@$(call build,release)
	@cmake --install build/release

.PHONY: install-dev
install-dev: setup ## The Python package into build/venv, from this tree
	@$(PY) -m pip install --quiet --no-build-isolation --no-deps --editable .

.PHONY: install-all
install-all: setup ## The same, with the clients of all servers
	@$(PY) -m pip install --quiet --no-build-isolation --editable '.[all]' \
	  --constraint scripts/requirements-dev.txt

.PHONY: dist
dist: setup ## dist/: an sdist and a wheel for other machines, tried in a bare Debian
	@scripts/dist.sh

.PHONY: clean
clean: ## Removes what was built; what was set up stays
	@find build -mindepth 1 -maxdepth 1 ! -name venv ! -name '.setup-*' \
	  -exec rm -rf {} + 2>/dev/null || true
	@rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
