# make book: set up, run a small real federation, render the book.
# make test: set up, then ruff, codespell, pytest, and nbval over every notebook.
# TORCH_INDEX: package index of another PyTorch build (CPU-only, a CUDA version); empty: pip's own choice.

PYTHON ?= python3.11
VENV ?= .venv
TORCH_INDEX ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: book test notebooks lab clean

book: $(VENV)/.installed
	$(BIN)/python -m book.build

test: $(VENV)/.installed
	$(BIN)/python -m tests.check

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
