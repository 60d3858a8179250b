# make book: set up, run a small real federation, render the book.
# make pages: render the book alone, from the outputs stored in the notebooks.
# make test: set up, then ruff, codespell, pytest, nbval over every notebook, and the browser tests.
# make test-browser: render the pages, and read them all in Chromium, without a network.
# TORCH_INDEX: package index of another PyTorch build (CPU-only, a CUDA version); empty: pip's own choice.

PYTHON ?= python3.11
VENV ?= .venv
TORCH_INDEX ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: book pages test test-browser notebooks lab clean

book: $(VENV)/.installed
	$(BIN)/python -m book.build

pages: $(VENV)/.installed
	$(BIN)/python -m book.build --no-run

test: $(VENV)/.installed
	$(BIN)/python -m tests.check

test-browser: $(VENV)/.installed
	$(BIN)/python -m pytest tests/browser -rs

notebooks: $(VENV)/.installed
	$(BIN)/python -m notebooks.execute

lab: $(VENV)/.installed
	$(BIN)/python -m jupyter lab notebooks

$(VENV)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --constraint constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[book,test]"
	@touch $@

clean:
	rm -rf $(VENV) book/_build
