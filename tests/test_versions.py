"""The book without solutions: none of their text or code is left, and everything else is."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book.site.versions import STUB, build, without_boxes, without_solutions, write_source

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def solution_cell(source: str, tags=("hide-cell", "solution")):
    return new_code_cell(source, metadata={"tags": list(tags)}, id="s")


def lines(source: str) -> set[str]:
    return {line.strip() for line in source.splitlines() if len(line.strip()) > 25}


def is_solution(cell) -> bool:
    return "solution" in cell.metadata.get("tags", [])


def secrets(path: Path) -> set[str]:
    """Long lines that stand in the solutions of a chapter and nowhere else in it."""
    cells = nbformat.read(path, as_version=4).cells
    code = set().union(*(lines(cell.source) for cell in cells if is_solution(cell)))
    answers = set()
    last = "\n".join(cell.source for cell in cells).split("## Exercises\n")[1]
    for body in re.findall(r"^(?:`{3,}|:{3,})\{dropdown\} Answers?\n(.*?)^(?:`{3,}|:{3,})$", last, re.M | re.S):
        answers |= lines(body)
    others = "\n".join(cell.source for cell in cells if cell.cell_type == "code" and not is_solution(cell))
    return {line for line in code | answers if line not in others}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_solution_of_a_chapter_is_left(path):
    hidden = secrets(path)
    assert len(hidden) > 10
    stripped = without_solutions(nbformat.read(path, as_version=4))
    nbformat.validate(stripped)
    text = "\n".join(cell.source for cell in stripped.cells)
    assert not [line for line in hidden if line in text]
    assert "Our version is" not in re.sub(r"\s+", " ", text)
    assert not any(is_solution(cell) for cell in stripped.cells)


def test_the_answer_to_a_guess_stays_and_that_to_an_exercise_goes():
    told, secret = (f"````{{dropdown}} Answer\n{text}\n````" for text in ("Forty-two.", "Forty-three."))
    texts = ["# 1. Small\n\nGuess.", told, "## Exercises\n\n### 1. More (easy)\n\nHow many?"]
    cells = [new_markdown_cell(text) for text in texts] + [solution_cell("6 * 7 + 1"), new_markdown_cell(secret)]
    stripped = without_solutions(new_notebook(cells=cells))
    assert [cell.source for cell in stripped.cells] == [*texts, STUB]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_everything_else_of_a_chapter_stays(path):
    full = nbformat.read(path, as_version=4)
    stripped = without_solutions(full)
    assert [cell for cell in stripped.cells if cell.cell_type == "code" and cell.source != STUB] == [
        cell for cell in full.cells if cell.cell_type == "code" and not is_solution(cell)
    ]
    before, after = ("\n".join(c.source for c in nb.cells if c.cell_type == "markdown") for nb in (full, stripped))
    for pattern in (r"^#+ .*$", r"^\*\*\d+\..*$"):  # headings, exercises and quiz questions
        assert re.findall(pattern, before, re.M) == re.findall(pattern, after, re.M)
    head, stripped_head = (text[: text.index("## Exercises")] for text in (before, after))
    sentence = r"Our version is (in the )?hidden( cell)?\. ?"
    assert re.sub(sentence, "", " ".join(head.split())).split() == stripped_head.split()


def test_what_an_exercise_says_of_its_solution_goes_and_the_next_exercise_stays():
    notebook = new_notebook(
        cells=[
            new_markdown_cell("## Exercises\n\n### 1. First\n\nAsk."),
            solution_cell("one = 1"),
            solution_cell("two = 2"),
            new_markdown_cell("It is one.\n\nSaid again.\n\n### 2. Second\n\nAsk more."),
            solution_cell("three = 3"),
            new_markdown_cell("**3. Third (easy).** Ask."),
            solution_cell("four = 4"),
            new_code_cell("assert four"),
        ]
    )
    stripped = without_solutions(notebook)
    sources = [cell.source for cell in stripped.cells]
    assert sources == [
        "## Exercises\n\n### 1. First\n\nAsk.",
        STUB,
        "### 2. Second\n\nAsk more.",
        STUB,
        "**3. Third (easy).** Ask.",
        STUB,
        "assert four",
    ]
    assert len(notebook.cells) == 8 and notebook.cells[1].source == "one = 1"


def test_outside_the_exercises_the_text_after_a_solution_stays():
    cells = [
        new_markdown_cell("## Idea\n\nTry. Our\nversion is in the hidden cell."),
        solution_cell("x"),
        new_markdown_cell("Go on."),
    ]
    assert [cell.source for cell in without_solutions(new_notebook(cells=cells)).cells] == [
        "## Idea\n\nTry.",
        STUB,
        "Go on.",
    ]


@pytest.mark.parametrize(
    "box",
    [
        "```{dropdown} Answer\nsecret\n```",
        ":::{dropdown} Answers\nsecret\n:::",
        "::::{dropdown} Solution of 2\n:::{note}\nsecret\n:::\nsecret\n::::",
        "````{admonition} Solution\n:class: dropdown\n```python\nsecret\n```\n````",
        ":::{admonition} How we did it\n:class: dropdown solution\nsecret\n:::",
        "```{solution} exercise-1\nsecret\n```",
        "::::{tip}\nkept\n:::{dropdown} Answer\nsecret\n:::\n::::",
    ],
)
def test_every_kind_of_box_goes(box):
    text = without_boxes(f"before\n\n{box}\n\nafter")
    assert "secret" not in text and "before" in text and "after" in text
    assert ("kept" in text) == ("kept" in box)


def test_other_boxes_stay_as_they_are():
    text = (
        "```{dropdown} A hint\nanswer me\n```\n\n:::{note}\nSolutions follow.\n:::\n\n```python\nprint('answer')\n```"
    )
    assert without_boxes(text) == text


def test_a_box_without_an_end_is_named():
    with pytest.raises(ValueError, match=r"Answer.*not closed"):
        without_boxes("```{dropdown} Answer\nsecret")


@pytest.mark.slow
def test_the_built_book_holds_no_solution_anywhere(tmp_path):
    assert build(tmp_path) == 0
    pages = tmp_path / "_build/html"
    index = (pages / "searchindex.js").read_text("utf-8")
    for path in CHAPTERS:
        page = (pages / f"notebooks/{path.stem}.html").read_text("utf-8")
        cells = nbformat.read(pages / f"_sources/notebooks/{path.stem}.ipynb", as_version=4).cells
        source = "\n".join(cell.source for cell in cells)
        assert STUB in re.sub(r"<[^>]+>", "", page) and "tag_solution" not in page, path.stem
        text = re.sub(r"\s+", "", re.sub(r"<[^>]+>", "", page))
        for line in secrets(path):
            assert line not in source and line not in page, line
            assert re.sub(r"\s+", "", line) not in text or "<" in line, line
    assert "is_sound" in index  # named in the task, so the reader can find it


@pytest.mark.slow
def test_the_source_tree_is_the_book_without_run_records(tmp_path):
    write_source(tmp_path)
    assert (tmp_path / "book/_toc.yml").read_text() == (ROOT / "book/_toc.yml").read_text()
    assert {path.name for path in (tmp_path / "notebooks").iterdir()} == {path.name for path in CHAPTERS}
    assert not (tmp_path / "book/_build").exists() and not (tmp_path / "book/results/records.jsonl").exists()
