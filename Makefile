# make book: set up, run a small real federation, render the book. make pages: the pages alone, from stored outputs.
# make pdf: the book as one PDF. make slides: slides of each chapter. make hand-in: the book without solutions.
# make test: set up, then ruff, codespell, pyright, pytest, browser tests, and nbval over every notebook.
# make quick: what of it takes at most a minute, without pages, notebooks, browser and slow tests.
# TORCH_INDEX: package index of another PyTorch build (CPU-only, a CUDA version); empty: pip's own choice.

PYTHON ?= python3.11
VENV ?= .venv
TORCH_INDEX ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: book pages pdf slides hand-in test quick test-browser notebooks lab clean

book: $(VENV)/.installed
	$(BIN)/python -m book.site.build

pages: $(VENV)/.installed
	$(BIN)/python -m book.site.build --no-run

pdf: pages
	$(BIN)/python -m book.site.pdf

slides: $(VENV)/.installed
	$(BIN)/python -m book.site.slides

hand-in: $(VENV)/.installed
	$(BIN)/python -m book.site.versions

test: $(VENV)/.installed
	$(BIN)/python -m tests.check

quick: $(VENV)/.installed
	$(BIN)/python -m tests.check --quick

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
