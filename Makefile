# One command per need; each does its own set-up from a bare clone.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test test-long check format bench constraints schema clean

setup: $(STAMP)

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints-uv.txt

$(STAMP): pyproject.toml constraints.txt constraints-uv.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(STAMP)

demo: setup
	$(BIN)/python examples/demo.py

test: setup
	$(BIN)/python -m pytest -n 2 -m "not long" --durations=15

test-long: setup
	$(BIN)/python -m pytest -n 2 -m long --timeout=900 --durations=30

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m bench

schema: setup
	$(BIN)/reconciler schema --write schema

constraints: $(BIN)/uv
	$(BIN)/uv pip compile -q pyproject.toml --group dev --extra all --generate-hashes --no-header --no-annotate --universal --python-version 3.11 -o constraints.txt
	grep -A 40 '^uv==' constraints.txt | awk 'NR==1 || /^ /{print; next} {exit}' > constraints-uv.txt

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
