"""What a reader meets in the chapters' text: numbers, links, folds, and answers of one's own."""

import re

import jupytext
import nbformat
import numpy as np
import pytest
import torch
from datasets import Dataset

import fedprompt_helpers as fp
from book.answers import mark
from book.site.build import ROOT
from notebooks import execute

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.md"))
PAGES = [page for page in (ROOT / "book").glob("*.md") if page.stem not in ("all_results", "evidence")]
CODE = re.compile(
    r"^(`{3,}|:{3,})\{code-cell\}.*?^\1$|^```(?:text|\{button-ref\}).*?^```$|\A---\n.*?^---$|^#+ .*?$|`[^`\n]+`",
    re.M | re.S,
)


def prose(path) -> str:
    return CODE.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_heading_has_the_number_of_its_file(chapter):
    heading = re.search(r"^# (\d+)\. \S", chapter.read_text(encoding="utf-8"), re.M)
    assert heading and int(heading[1]) == int(chapter.stem[:2])


@pytest.mark.parametrize("page", [*CHAPTERS, *PAGES], ids=lambda path: path.stem)
def test_every_mention_of_a_chapter_is_a_link_to_it(page):
    bare = re.sub(r"\[[^\]]*\]\([^)]*\)", "", prose(page))
    assert not re.findall(r"[Cc]hapters?\s+\d+", bare)
    for text, number in re.findall(r"\[(?:[Cc]hapters?\s+)?(\d+)[^\]]*\]\([^)]*notebooks/(\d+)_", prose(page)):
        assert int(text) == int(number)


@pytest.mark.parametrize("page", [*CHAPTERS, *PAGES], ids=lambda path: path.stem)
def test_the_paper_is_not_said_to_use_p_tuning(page):
    text = " ".join(prose(page).split())
    assert not re.search(r"P-tuning[`*]*,? (is |as )?the (method of the paper|paper's method)", text)


def test_the_majority_class_is_that_of_the_split_that_is_scored():
    split = Dataset.from_dict({"label": ["on", "off", "off"]})
    assert fp.majority_accuracy(split) == ("off", 2 / 3)
    (entry,) = re.findall(r"^majority class\n((?:  .*\n)+)", (ROOT / "book/glossary.md").read_text("utf-8"), re.M)
    assert "of the very data that a score is computed on" in " ".join(entry.split())


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_what_a_guess_will_show_is_folded(chapter):
    cells = [cell for cell in jupytext.read(chapter).cells if cell.source]
    guesses = [number for number, cell in enumerate(cells) if "**Guess" in cell.source and cell.cell_type == "markdown"]
    assert guesses
    for number in guesses:
        shown = cells[number + 1 : number + 6]
        folded = ["guess" in cell.metadata.get("tags", []) or "{dropdown}" in cell.source for cell in shown]
        assert any(folded), cells[number].source


def notebook(tmp_path, code: str, text: str = "Guess.", tags: str = ""):
    source = tmp_path / "01_small.md"
    kernel = "---\nkernelspec:\n  name: python3\n  display_name: Python 3\n---\n"
    source.write_text(
        f"{kernel}\n# 1. Small\n\n{text}\n\n```{{code-cell}} ipython3\n{tags}\n{code}\n```\n", encoding="utf-8"
    )
    return source


def test_new_prose_and_tags_are_taken_over_without_running(tmp_path):
    execute.execute(notebook(tmp_path, "print(6 * 7)"))
    target = execute.refresh(notebook(tmp_path, "print(6 * 7)", "Guess the number.", ":tags: [guess]\n"))
    prose_cell, code = nbformat.read(target, as_version=4).cells
    assert "Guess the number." in prose_cell.source
    assert code.outputs[0].text == "42\n"
    assert code.metadata.tags == ["guess", "hide-output"]
    assert code.metadata.jupyter == {"outputs_hidden": True}
    assert code.metadata.mystnb["code_prompt_show"] == "Your guess first"


def test_a_figure_under_a_guess_keeps_its_caption_and_its_description(tmp_path):
    head = "---\nmystnb:\n  figure: {caption: Two lines.}\n  image: {alt: Both rise.}\ntags: [guess]\n---\n"
    (_, code) = execute.read(notebook(tmp_path, "plot()", tags=head)).cells
    assert code.metadata.mystnb["figure"] == {"caption": "Two lines."}
    assert code.metadata.mystnb["image"] == {"alt": "Both rise."}
    assert code.metadata.mystnb["code_prompt_show"] == "Your guess first"


@pytest.mark.slow
def test_changed_code_must_run(tmp_path):
    execute.execute(notebook(tmp_path, "print(6 * 7)"))
    with pytest.raises(ValueError, match="has changed: execute it"):
        execute.refresh(notebook(tmp_path, "print(6 * 8)"))


@pytest.mark.parametrize(
    ("yours", "right", "said"),
    [
        (..., 2.5, "Put your"),
        (2.5, 2.5, "Right."),
        (2.4, 2.5, "Not yet"),
        ("cy", "cy", "Right."),
        (np.array([2, 6]), [2, 6], "Right."),
        ([np.int64(2), np.int64(7)], [2, 6], "Not yet"),
        (np.float32(0.8), 0.8, "Right."),
        (torch.tensor(2.5), 2.5, "Right."),
        (2, "cy", "Not yet"),
        ([1, 2], [1, 2], "Right."),
        ([1, ...], [1, 2], "Put your"),
        ([1], [1, 2], "Not yet"),
        (None, 2, "Not yet"),
    ],
)
def test_an_answer_is_marked_and_not_given_away(yours, right, said, capsys):
    mark(yours, right)
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert said == "Right." or str(right) not in printed


def test_a_number_may_be_a_little_off(capsys):
    mark(108.31, 108.3, within=0.05)
    assert capsys.readouterr().out == "Right.\n"
