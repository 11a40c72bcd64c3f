# `make demo` and `make test` do all the set-up on a machine that has only Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Real scans for tests and training, where they are at hand.
export LVNET_DATA_DIR ?= $(abspath $(wildcard ../shared/data))

.PHONY: demo test test-first test-second test-third test-slow lint clean

$(VENV)/python: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

# What the demo needs: no test tools, no Qt, no MONAI.
$(VENV)/small: $(VENV)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fast]'
	touch $@

$(VENV)/ready: $(VENV)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fast,train,test]'
	touch $@

# CT=/path/to/scan segments a scan of your own instead of a phantom.
demo: $(VENV)/small
	mkdir -p demo
ifdef CT
	$(BIN)/lvnet segment "$(CT)" -o demo/liver.seg.nrrd
	$(BIN)/lvnet picture "$(CT)" demo/liver.seg.nrrd -o demo/overlay.png
else
	$(BIN)/lvnet phantom demo --seed 7
	$(BIN)/lvnet segment demo/ct.nii.gz -o demo/liver.seg.nrrd
	$(BIN)/lvnet evaluate demo/liver.seg.nrrd demo/liver.nii.gz --images demo/ct.nii.gz --report demo/report.html
	$(BIN)/lvnet picture demo/ct.nii.gz demo/liver.seg.nrrd -o demo/overlay.png
	@echo "demo/report.html shows the comparison"
endif
	@echo "demo/liver.seg.nrrd opens in 3D Slicer; demo/overlay.png shows it"

# One process a layer: the real slicer and a stand-in for it cannot share one.  Three streams of layers that take about
# as long run side by side, with one thread each: tests often wait for subprocesses,
# so that three streams use two cores better.
# COVERAGE=1 also measures how much of lvnet the tests run, and takes half as long again.
COVERAGE ?=
test-first test-second test-third: export OMP_NUM_THREADS = 1
# The core takes longest, so the stream that ends first otherwise gives way to it.
test-second: NICE = nice -n 5
PYTEST = $(NICE) $(BIN)/python -m pytest -q -m "not slow" --durations=12 --durations-min=4 \
	$(if $(COVERAGE),--cov --cov-report= --cov-append)
test: $(VENV)/ready
	rm -f .coverage .coverage.*
	sh Testing/dicom-validator.sh
	-sh Testing/system-libraries.sh
	$(MAKE) --no-print-directory -j3 $(if $(filter output-sync,$(.FEATURES)),-Oline) test-first test-second test-third
ifneq ($(COVERAGE),)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --fail-under=90
endif

test-first: export COVERAGE_FILE = .coverage.first
test-first: $(VENV)/ready
	$(PYTEST) Testing/core

test-second: export COVERAGE_FILE = .coverage.second
test-second: $(VENV)/ready
	$(PYTEST) Testing/training
	$(PYTEST) Testing/cmake

test-third: export COVERAGE_FILE = .coverage.third
test-third: $(VENV)/ready
	$(PYTEST) Testing/faults
	$(PYTEST) Testing/fuzz
	sh Testing/system-libraries.sh
	$(PYTEST) Testing/mrml
	$(PYTEST) Testing/widget
	$(PYTEST) Testing/benchmarks

test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -q -m slow Testing/core
	$(BIN)/python -m pytest -q -m slow Testing/mrml
	$(BIN)/python -m pytest -q -m slow Testing/training
	$(BIN)/python -m pytest -q -m slow Testing/faults
	$(BIN)/python -m pytest -q -m slow Testing/fuzz
	$(BIN)/python -m pytest -q -m slow Testing/benchmarks

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build .coverage .mypy_cache .ruff_cache .pytest_cache
