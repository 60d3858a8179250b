"""The first cell of a chapter: nothing outside Colab, an installation there, and pairs that stay in step."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from notebooks.first_cell import TAG, THEIRS, source, with_first_cell, write

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.md"))


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A shell of IPython that notes what it would run, change and install."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell, asked = InteractiveShell(), []
    monkeypatch.setattr(shell, "system", asked.append)
    monkeypatch.setattr(shell, "run_line_magic", lambda name, line, *rest: asked.append(f"{name} {line}"))
    return shell, asked


def test_it_does_nothing_elsewhere(shell):
    shell, asked = shell
    before = list(sys.path)
    result = shell.run_cell(source("some/book"))
    result.raise_error()
    assert not asked and sys.path == before and result.result is None


def test_on_colab_it_fetches_the_repository_installs_the_package_and_finds_it(shell, monkeypatch):
    shell, asked = shell
    monkeypatch.setitem(sys.modules, "google.colab", object())
    shell.run_cell(source("some/book")).raise_error()
    assert [line.split()[0] for line in asked] == ["git", "grep", "pip", "cd"]
    assert "github.com/some/book /content/book" in asked[0]
    assert "--constraint /content/constraints.txt" in asked[2] and "[chapters]" in asked[2]
    assert sys.path[0] == "/content/book" and asked[3].endswith("/content/book/notebooks")


def test_colab_keeps_its_own_notebook_programs_and_takes_the_other_versions_of_the_book():
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    kept = {line.split("==")[0].lower() for line in pins if not re.match(THEIRS, line, re.IGNORECASE)}
    assert {"torch", "flwr", "transformers", "peft", "numpy", "pandas", "anywidget", "ray"} <= kept
    assert not {"ipython", "ipykernel", "ipywidgets", "jupyter_client", "tornado"} & kept


def test_the_extra_for_chapters_has_what_they_import_and_nothing_to_build_or_test():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(extras["chapters"]) < set(extras["book"]) and not set(extras["chapters"]) & set(extras["test"])


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_source_and_notebook_get_it_once_and_keep_everything_else(chapter, tmp_path):
    for path in (chapter, chapter.with_suffix(".ipynb")):
        shutil.copy(path, tmp_path)
    copy = tmp_path / chapter.name
    write(copy, "some/old")
    once = copy.read_text("utf-8"), copy.with_suffix(".ipynb").read_text("utf-8")
    write(copy, "some/old")
    assert once == (copy.read_text("utf-8"), copy.with_suffix(".ipynb").read_text("utf-8"))
    write(copy, "some/book")
    text, notebook = jupytext.read(copy), nbformat.read(copy.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in text.cells] == [cell.source for cell in notebook.cells]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert code[0].source == source("some/book") and sum(TAG in c.metadata.get("tags", []) for c in code) == 1
    old = nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)
    was = [cell for cell in old.cells if TAG not in cell.metadata.get("tags", [])]
    now = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    for before, after in zip(was, now, strict=True):
        assert (before.source, before.metadata) == (after.source, after.metadata)
        for one, other in zip(before.get("outputs", []), after.get("outputs", []), strict=True):
            assert {**one, "execution_count": 0} == {**other, "execution_count": 0}


def test_a_repository_is_written_owner_and_name():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    with pytest.raises(ValueError, match="OWNER/NAME"):
        with_first_cell(notebook, "https://example.org/some/book")
