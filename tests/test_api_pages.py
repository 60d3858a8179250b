"""The reference pages name every public name of the modules that they document, and nothing that there is not."""

import importlib
import re
from pathlib import Path

import pytest

import fedprompt_helpers as fp

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
