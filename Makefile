# One command per need; each does its own set-up from a bare clone.
PYTHON ?= python3
ENGINE ?= process
BIN := .venv/bin
STAMP := .venv/.installed
# Every start of a command would compile all that it imports: where a machine keeps bytecode from being written, it is
# written all the same in this folder.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo test test-long test-live check format bench constraints schema image wheelhouse clean

setup: $(STAMP)

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints-uv.txt

$(STAMP): pyproject.toml constraints.txt constraints-uv.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(STAMP)

demo: setup
	$(BIN)/python examples/demo.py --engine $(ENGINE)

# These tests wait for processes more than they compute: four workers use what two leave of two cores.
test: setup
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not long" --durations=15

test-long: setup
	$(BIN)/python -m pytest -n 3 --dist worksteal -m long --timeout=900 --durations=30

# On the cluster that KUBECONFIG names, in namespaces that are made for it and go afterwards.
test-live: setup
	$(BIN)/python -m pytest -n 2 -m live --timeout=900

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

# The daemon's image; BASE and whatever else `docker build` takes may be given.
BASE ?= python:3.11-slim
image:
	docker build --tag reconciler --build-arg BASE=$(BASE) --file deploy/docker/Dockerfile .

# Everything that the image installs, for a build without a package index.
wheelhouse: $(BIN)/uv
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r constraints-run.txt --dest wheelhouse
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --only-binary :all: hatchling --dest wheelhouse

schema: setup
	$(BIN)/reconciler schema --write schema

constraints: $(BIN)/uv
	$(BIN)/uv pip compile -q pyproject.toml --group dev --extra all --generate-hashes --no-header --no-annotate --universal --python-version 3.11 -o constraints.txt
	$(BIN)/uv pip compile -q pyproject.toml --extra all -c constraints.txt --generate-hashes --no-header --no-annotate --universal --python-version 3.11 -o constraints-run.txt
	grep -A 40 '^uv==' constraints.txt | awk 'NR==1 || /^ /{print; next} {exit}' > constraints-uv.txt

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
