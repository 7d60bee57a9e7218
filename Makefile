# make venv   set up .venv, once          make demo   the whole story, offline
# make test   the test suite              make lint   style        make dist    the wheel that clusters' workers get
# make clean  remove what these made
PYTHON ?= python3
DEMO_OUTPUT ?= demo
BIN = .venv/bin

.PHONY: venv demo test lint dist clean

venv: .venv/installed

# torch comes first and by its exact version: a looser request brings gigabytes of CUDA libraries.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,test]'
	touch $@

demo: venv
	$(BIN)/python -m pipelines.demo --output $(DEMO_OUTPUT)

# Three at once on two cores: many tests wait for processes of their own. In the order of files, which starts the long ones first.
test: venv
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: venv
	$(BIN)/python -m ruff check .

dist: venv
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build
	@ls dist/*.whl

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis $(DEMO_OUTPUT)
