"""The book renders without a warning, with every chapter and every stored output."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def chapters() -> list[str]:
    parts = yaml.safe_load((ROOT / "book/_toc.yml").read_text())["parts"]
    return [entry["file"] for part in parts for entry in part["chapters"] if entry["file"].startswith("notebooks/")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the book with warnings as errors; give what the build said, and the folder of pages."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-W", "ignore", "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["--config", "book/_config.yml", "--toc", "book/_toc.yml", "--path-output", str(folder)]
    result = subprocess.run([*command, "--warningiserror", "--keep-going"], cwd=ROOT, capture_output=True, text=True)
    return result, folder / "_build/html"


def test_it_builds_with_warnings_as_errors(built):
    result, pages = built
    assert result.returncode == 0, result.stderr[-3000:]
    for name in [*chapters(), "book/intro", "book/glossary", "book/bibliography"]:
        page = pages / f"{name}.html"
        assert page.exists(), name
        assert "Traceback" not in page.read_text(), name


class Targets(HTMLParser):
    """The places of a page that can be linked to, and the places that it links to."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


def test_every_internal_link_leads_somewhere(built):
    _, pages = built
    found = {page.resolve(): Targets(page.read_text()) for page in pages.rglob("*.html") if "_static" not in page.parts}
    assert len(found) > len(chapters())
    checked, broken = 0, []
    for page, targets in found.items():
        for link in targets.links:
            url = urlsplit(link)
            if url.scheme or url.netloc or link in ("#", ""):
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(url.fragment)
            checked += 1
            if not target.exists() or (anchor and target in found and anchor not in found[target].ids):
                broken.append(f"{page.name}: {link}")
    assert checked > 100
    assert not broken


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
