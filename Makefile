# Everything runs in a virtual environment of the project's own; Python and make are all it needs.
# PYTHON picks the interpreter: make test PYTHON=python3.13
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
READY = $(VENV)/ready
# What the demo needs, a third of what developers install. Both are one environment.
LIGHT = $(VENV)/light
# Compiled kernels stay for the next run. A file that no source has any more goes after a week.
KERNELS = $(abspath $(VENV))/kernels
TESTS = mkdir -p "$(KERNELS)" && find "$(KERNELS)" -type f -mtime +7 -delete && \
	JITPROP_TESTS_CACHE="$(KERNELS)" $(BIN)/python -m pytest -n auto --dist worksteal
# Else every process that a test starts compiles the sources of jitprop again.
unexport PYTHONDONTWRITEBYTECODE
# asv keeps its description of the machine in HOME, and has no option for it.
ASV = HOME="$(CURDIR)/.asv" $(BIN)/asv

# The peers weigh gigabytes: an environment of their own.
PEERS = .venv-peers

# So do the libraries that nets are converted from and to.
INTEROP = .venv-interop
# And so do forty libraries that take estimators, which want other versions than those.
WORKS_WITH = .venv-works-with

.PHONY: demo test test-long lint docs wheel publish processors arm bench peers drop-in interop versions clean help

help:
	@echo "make demo   train XOR and the handwritten digits, and show how fast"
	@echo "make test   run the tests"
	@echo "make test-long  run those that take long"
	@echo "make lint   check style and types"
	@echo "make docs   build the pages of docs/ into docs/_build/html"
	@echo "make wheel  build a wheel with machine code for common processors, into dist/"
	@echo "make publish  write the hashes that \`jitprop verify\` compares with, after a change of bits"
	@echo "make processors  compare the published bits with those of code for other processors"
	@echo "make arm    compare them with those of 64-bit ARM, which qemu emulates"
	@echo "make bench  run the benchmarks once (asv)"
	@echo "make peers  time other systems beside jitprop"
	@echo "make drop-in  time scikit-learn's estimators beside jitprop's"
	@echo "make interop  compare the numbers of other libraries with jitprop's, update by update"
	@echo "make versions  run a sample of the tests with each numba and each Python"
	@echo "make clean  remove what these made"

$(LIGHT): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jitprop needs Python 3.11 or newer; try make PYTHON=python3.13")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable '.[sklearn]'
	@touch $@

$(READY): $(LIGHT)
	$(PIP) install --quiet --editable '.[dev]'
	@touch $@

demo: $(LIGHT)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(TESTS) -m "not long"

test-long: $(READY)
	$(TESTS) -m long

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -E -q docs docs/_build/html

# The machine code is made by this environment's numba.
wheel: $(LIGHT)
	$(BIN)/python kernels/build_wheel.py dist

# PUBLISH_FLAGS=--speed measures the ratios to NumPy instead.
publish: $(READY)
	$(BIN)/python tests/publish.py $(PUBLISH_FLAGS)

processors: $(LIGHT)
	$(BIN)/python kernels/other_processors.py

# For half an hour, with 300 MB of downloads, on Debian. The log is .arm/log.txt.
arm: $(LIGHT)
	tests/arm.sh $(BIN)/python

bench: $(READY)
	$(ASV) machine --yes >/dev/null
	$(ASV) run --python=same --show-stderr $(ASV_FLAGS)

# The folder of the target becomes an environment with jitprop and the second prerequisite's packages.
define ENVIRONMENT
$(PYTHON) -m venv $(@D)
$(@D)/bin/python -m pip install --quiet --upgrade pip
$(@D)/bin/python -m pip install --quiet --editable . --requirement $(word 2,$^)
@touch $@
endef

$(PEERS)/ready: pyproject.toml benchmarks/peers/requirements.txt
	$(ENVIRONMENT)

peers: $(PEERS)/ready
	$(PEERS)/bin/python benchmarks/peers/run.py $(PEERS_FLAGS)
	$(PEERS)/bin/python benchmarks/peers/calls.py $(PEERS_FLAGS)
	$(PEERS)/bin/python benchmarks/peers/fleets.py $(filter --quick,$(PEERS_FLAGS))
	$(PEERS)/bin/python benchmarks/peers/second_order.py $(filter --quick,$(PEERS_FLAGS))

# The peers' environment has what it needs, and is not made for it: this one is light.
drop-in: $(READY)
	$(BIN)/python benchmarks/peers/drop_in.py $(DROP_IN_FLAGS)

# FANN, R and Weka come from Debian. Where they are missing and cannot be installed, their tests skip.
$(INTEROP)/ready: pyproject.toml tests/interop/requirements.txt
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get install -qq -y --no-install-recommends libfann2 r-cran-nnet weka >/dev/null || true; \
	fi
	$(ENVIRONMENT)

$(WORKS_WITH)/ready: pyproject.toml tests/interop/works_with/requirements.txt
	$(ENVIRONMENT)

interop: $(INTEROP)/ready $(WORKS_WITH)/ready
	mkdir -p "$(abspath $(INTEROP))/kernels"
	JITPROP_TESTS_CACHE="$(abspath $(INTEROP))/kernels" $(INTEROP)/bin/python -m pytest tests/interop \
		--ignore=tests/interop/works_with $(INTEROP_FLAGS)
	JITPROP_TESTS_CACHE="$(abspath $(INTEROP))/kernels" $(WORKS_WITH)/bin/python -m pytest \
		tests/interop/works_with $(INTEROP_FLAGS)

# For an hour or two. PYTHONS picks the interpreters, as paths or as names on the PATH.
versions: $(READY)
	nice $(BIN)/python tests/versions.py $(VENV)/versions $(if $(PYTHONS),--pythons $(PYTHONS))

clean:
	rm -rf $(VENV) $(PEERS) $(INTEROP) $(WORKS_WITH) .arm .asv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist docs/_build xor-lesson.html
	find src kernels tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
