"""The book renders without a warning, with every chapter and every stored output."""

import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parent.parent


def chapters() -> list[str]:
    parts = yaml.safe_load((ROOT / "book/_toc.yml").read_text())["parts"]
    return [entry["file"] for part in parts for entry in part["chapters"] if entry["file"].startswith("notebooks/")]


def test_it_builds_with_warnings_as_errors(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["--config", "book/_config.yml", "--toc", "book/_toc.yml", "--path-output", str(tmp_path)]
    result = subprocess.run([*command, "--warningiserror", "--keep-going"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    for name in [*chapters(), "book/intro", "book/glossary", "book/bibliography"]:
        page = tmp_path / "_build/html" / f"{name}.html"
        assert page.exists(), name
    assert "Traceback" not in page.read_text()


def test_every_chapter_is_committed_executed_and_in_order():
    assert len(chapters()) >= 3
    for name in chapters():
        notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), name
        for cell in cells:
            for output in cell.outputs:
                assert output.output_type != "error" or "raises-exception" in cell.metadata.get("tags", []), name
                assert output.get("name") != "stderr", name


def test_every_chapter_is_executed_from_its_source():
    import jupytext

    for name in chapters():
        source = jupytext.read(ROOT / f"{name}.md")
        notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
        assert [cell.source for cell in source.cells] == [cell.source for cell in notebook.cells], name
