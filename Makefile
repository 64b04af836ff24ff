# The README's two commands are `make demo` and `make test`; each sets up what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check bench-backbone bench-pretrain bench-zeroshot clean

setup: $(STAMP)

# Wheels only, nothing compiles. The stamp is written last: an interrupted set-up is begun anew.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --only-binary=:all: --editable ".[dev]"
	$(BIN)/python -m benchmarks.install
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/bench demo

# A process for each core; a file's tests stay together, for they share what is dear to make. tests/conftest.py says
# which files come first.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 25

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-backbone: $(STAMP)
	$(BIN)/python -m benchmarks.dense.profile

# Needs an otherwise idle machine; about ten minutes on two cores.
bench-pretrain: $(STAMP)
	$(BIN)/python -m pretrain.profiling.step

# Needs an otherwise idle machine.
bench-zeroshot: $(STAMP)
	$(BIN)/python -m benchmarks.zeroshot.profile

clean:
	rm -rf $(VENV) build dist *.egg-info
