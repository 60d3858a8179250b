"""The reference pages name every public name of the modules that they document, and nothing that there is not."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import fedprompt_helpers as fp
from book.site.described import without_limits

PAGES = Path(__file__).resolve().parent.parent / "book" / "api"
MODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.M)
NAME = re.compile(r"^\.\. auto(?:function|class|data):: (\w+)$", re.M)


def documented() -> dict[str, set[str]]:
    """For each module on the pages, the names under it."""
    found = {}
    for page in PAGES.glob("*.md"):
        _, *pieces = MODULE.split(page.read_text(encoding="utf-8"))
        for module, text in zip(pieces[::2], pieces[1::2], strict=True):
            assert module not in found, f"{module} is on two pages"
            found[module] = set(NAME.findall(text))
    return found


def defined(module) -> set[str]:
    """The public functions and classes that a module defines itself."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module.__name__
    }


@pytest.mark.parametrize("name", sorted(documented()))
def test_every_public_name_is_on_a_page(name):
    module, pages = importlib.import_module(name), documented()
    assert defined(module) <= pages[name]
    assert set(getattr(module, "__all__", ())) <= set().union(*pages.values())
    assert all(hasattr(module, documented_name) for documented_name in pages[name])


def test_what_the_chapters_import_is_documented():
    chapters, known = (PAGES.parent.parent / "notebooks").glob("*.md"), set(documented())
    line = re.compile(r"^from ((?:fedprompt_helpers|book)\b\S*) import (\w+)", re.M)
    imported = {(module, name) for chapter in chapters for module, name in line.findall(chapter.read_text("utf-8"))}
    assert len(imported) > 5
    assert [pair for pair in imported if not known & {pair[0], ".".join(pair)}] == []


def test_the_public_face_is_on_the_first_page():
    index = (PAGES / "index.md").read_text("utf-8")
    assert set(fp.__all__) == set(re.findall(r"^\* - `fp\.(\w+)(?:\.\*)?`$", index, re.M))


def test_signatures_can_be_read():
    written = "(size: Annotated[int, FieldInfo(annotation=None, metadata=[Ge(ge=1), Le(le=9)])] | None = 5, *, k: str)"
    assert without_limits(written) == "(size: int | None = 5, *, k: str)"
    assert without_limits("(x: tuple[Annotated[int, Ge(1)], ...] = (1, 2))") == "(x: tuple[int, ...] = (1, 2))"
    assert without_limits("(a: Callable[[dict], None])") == "(a: Callable[[dict], None])"


def test_a_page_says_each_thing_once_and_in_one_piece(built):
    for page in PAGES.glob("*.md"):
        soup = BeautifulSoup((built / f"book/api/{page.stem}.html").read_text("utf-8"), "html.parser")
        for signature in soup.select("dt.sig"):
            assert not re.search(r"Annotated|FieldInfo|<|~", signature.get_text()), signature.get_text()
            assert signature.select_one(".viewcode-link") or signature.find_parent("dl", class_="class")
        names = [name.get_text() for name in soup.select("dl.field-list dt")]
        assert not [name for name in names if name.startswith("Type")]
        for one in soup.select("dl.py > dd"):
            told = [part.get_text(" ", strip=True) for part in one.find_all("p", recursive=False)]
            assert len(told) == len(set(told)), told


@pytest.mark.parametrize("page", ["data", "model", "federation", "results", "pictures"])
@pytest.mark.slow
def test_the_example_of_a_page_gives_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (example,) = re.findall(r"^```pycon\n(.*?)^```$", (PAGES / f"{page}.md").read_text("utf-8"), re.M | re.S)
    test = doctest.DocTestParser().get_doctest(example, {}, page, page, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    runner.run(test, out=said.append)
    assert len(test.examples) > 5
    assert not said, "".join(said)


def test_the_examples_use_every_public_name():
    text = "".join(page.read_text("utf-8") for page in PAGES.glob("*.md"))
    shown = "".join(re.findall(r"^```pycon\n(.*?)^```$", text, re.M | re.S))
    unused = {"FedPromptError", "message_bytes", "plot_rounds"}  # raised; what Flower sends; of a long run
    assert {name for name in fp.__all__ if f"fp.{name}" not in shown} <= unused
