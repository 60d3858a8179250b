"""Is it your own? What the assignments ask of a student's sentences, number and reasons, and one helper for vectors.

Students run these checks too, in the cells that stand open; only the marking compares the number with the folder's.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RUN = 8  # so many words in a row of the book are a quotation


def plain(text: str) -> str:
    """Lower the case, and leave letters, marks and numbers alone, with one space between words."""
    kinds = ((character, unicodedata.category(character)) for character in text.casefold())
    return " ".join("".join(c if kind[0] in "LMN" else "" if kind == "Cf" else " " for c, kind in kinds).split())


@cache
def of_the_book() -> tuple[frozenset[str], str]:
    """Give every voice command of the book, and the words of all its pages in one text."""
    commands = set()
    for path in (ROOT / "fedprompt_helpers/data/intents").glob("*/*.tsv"):
        commands |= {plain(line.split("\t")[0]) for line in path.read_text("utf-8").splitlines()[1:]}
    pages = [*(ROOT / "notebooks").glob("*.md"), *(ROOT / "book").rglob("*.md")]
    words = " ".join(plain(path.read_text("utf-8")) for path in sorted(pages) if "_build" not in path.parts)
    return frozenset(commands), f" {words} "


@cache
def of_examples() -> dict[str, str]:
    """Give the text of each example submission under the number of its student."""
    texts: dict[str, str] = {}
    for path in sorted((ROOT / "book/assignments/examples").glob("*/*.toml")):
        text = path.read_text("utf-8")
        number = re.search(r'^student = "(\d+)"', text, re.MULTILINE)
        if number:
            texts[number[1]] = f"{texts.get(number[1], '')} {plain(text)} "
    return texts


def check_sentences(
    number: int, mine: list[tuple[str, str]], labels: list[str], least: int = 12, kinds: int = 3
) -> None:
    """Check the student's sentences, pairs of text and label.

    Raises
    ------
    AssertionError
        If there are fewer than `least`, or of fewer than `kinds` labels with two sentences each, if a label is unknown,
        a sentence is there twice or has fewer than six letters, or if it stands in the book.
    """
    texts = [plain(text) for text, _ in mine]
    assert len(mine) >= least, f"{len(mine)} sentences; {least} are asked for"
    unknown = sorted({label for _, label in mine} - set(labels))
    assert not unknown, f"unknown labels {unknown}; there are {labels}"
    often = [label for label, times in Counter(label for _, label in mine).items() if times >= 2]
    assert len(often) >= kinds, f"{len(often)} labels have two sentences or more; {kinds} are asked for"
    assert len(set(texts)) == len(texts), "a sentence is there twice"
    short = [text for text, words in zip(mine, texts, strict=True) if len(words) < 6]
    assert not short, f"too short to be a sentence: {short[0]}"
    commands, pages = of_the_book()
    others = [text for student, text in of_examples().items() if student != str(number)]
    for (text, _), words in zip(mine, texts, strict=True):
        found = words in commands or any(f" {words} " in page for page in (pages, *others))
        assert not found, f"{text!r} stands in the book; write a sentence of your own"


def check_number(number: int) -> None:
    """Check that a submission's number is the name of its folder, as nbgrader lays them: NUMBER/ASSIGNMENT/NOTEBOOK.

    Raises
    ------
    AssertionError
        If it is another.
    """
    folder = Path.cwd().parent.name
    assert str(number) == folder, f"the number is {number}; the submission is in the folder of {folder}"


def check_reason(text: str, numbers: dict[str, float], words: int = 40) -> None:
    """Check that a reason is long enough, names the student's own numbers, and is no quotation of the book.

    Raises
    ------
    AssertionError
        If it has fewer than `words` words (or six letters for each, in scripts without spaces), lacks a number (as a
        share or in percent, to two figures), or has eight words in a row that stand in the book.
    """
    said = plain(text).split()
    length = max(len(said), len("".join(said)) // 6)
    assert length >= words, f"about {length} words; say why in {words} or more"
    given = [float(each) for each in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text.replace("−", "-"))]
    for name, value in numbers.items():
        near = any(abs(each - value * scale) <= 0.0051 * scale for each in given for scale in (1, 100))
        near |= any(abs(each - value) <= 0.0051 * abs(value) for each in given)
        assert near, f"your own {name} does not stand in your reason"
    own_number = Path.cwd().parent.name  # an example is no quotation of itself
    others = (words for student, words in of_examples().items() if student != own_number)
    pages = " ".join((of_the_book()[1], *others))
    for start in range(len(said) - RUN + 1):
        part = " ".join(said[start : start + RUN])
        assert f" {part} " not in pages, f"these words stand in the book: {part}"


@cache
def _encoder():
    from fedprompt_helpers import load_backbone

    return load_backbone("pocket", num_labels=2, seed=0)


def vectors(texts: list[str]) -> np.ndarray:
    """Give the mean of the token vectors of each text, as chapter 1 does: shape ``(texts, 384)``, float64."""
    import torch

    model, tokenizer = _encoder()
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model.base_model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    return ((found * mask).sum(1) / mask.sum(1)).numpy().astype(float)
