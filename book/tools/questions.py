"""The book's closed questions: read and checked, and exported for Moodle (GIFT) and Canvas (QTI).

``python -m book.tools.questions FOLDER`` writes ``NN_chapter.gift`` and ``NN_chapter.zip`` for every chapter. The
questions are in ``book/questions/NN_chapter.toml``; the pages show the same ones.
"""

import argparse
import re
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedprompt_helpers.errors import FedPromptError

QUESTIONS = Path(__file__).resolve().parent.parent / "questions"
Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.|\n)*\S$|^\S$")]


class Strict(BaseModel):
    """Every field is known and none is changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Option(Strict):
    """One answer that can be chosen, and why it is right or wrong."""

    text: Text
    why: Text
    right: bool = False


class Question(Strict):
    """A closed question with one right answer; it belongs to an outcome of its chapter, counted from 1."""

    text: Text
    outcome: int = Field(ge=1)
    options: tuple[Option, ...] = Field(alias="option", min_length=3, max_length=5)

    @model_validator(mode="after")
    def _one_is_right(self):
        if sum(option.right for option in self.options) != 1:
            raise ValueError("exactly one option must have right = true")
        if len({option.text for option in self.options}) < len(self.options):
            raise ValueError("two options are the same")
        return self


class Outcome(Strict):
    """Where an outcome is taught, and the numbers of the exercises that practise it."""

    section: Text
    exercises: tuple[int, ...] = ()


class Bank(Strict):
    """The questions of one chapter, and its map of outcomes in the chapter's order."""

    outcomes: tuple[Outcome, ...] = Field(alias="outcome", min_length=1)
    questions: tuple[Question, ...] = Field(alias="question", min_length=5)

    @model_validator(mode="after")
    def _outcomes_exist(self):
        for number, question in enumerate(self.questions, 1):
            if question.outcome > len(self.outcomes):
                raise ValueError(f"question {number} is of outcome {question.outcome} of {len(self.outcomes)}")
        return self


def bank(chapter: str) -> Bank:
    """Read the questions of a chapter, given by a name such as ``05_fedavg``.

    Raises
    ------
    FedPromptError
        Naming the file, the place in it, and what was found.
    """
    path = QUESTIONS / f"{chapter}.toml"
    try:
        return Bank.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise FedPromptError(f"{path.name}: {error}; write it as TOML") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise FedPromptError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def chapters() -> list[str]:
    """Return the chapters that have questions, in order."""
    return sorted(path.stem for path in QUESTIONS.glob("*.toml"))


def flat(text: str) -> str:
    """Put a text on one line."""
    return " ".join(text.split())


def gift(chapter: str) -> str:
    """Write a chapter's questions in GIFT, which Moodle imports; texts are Markdown."""

    def safe(text: str) -> str:
        return re.sub(r"([~=#{}:\\])", r"\\\1", flat(text))

    parts = [f"// {chapter}: closed questions, one right answer each.\n$CATEGORY: {chapter}\n"]
    for number, question in enumerate(bank(chapter).questions, 1):
        options = "".join(
            f"\n\t{'=' if one.right else '~'}{safe(one.text)}#{safe(one.why)}" for one in question.options
        )
        parts.append(f"::{chapter[:2]}.{number}::[markdown]{safe(question.text)}{{{options}\n}}\n")
    return "\n".join(parts)


def text2qti(chapter: str) -> str:
    """Write a chapter's questions as ``text2qti`` reads them."""
    lines = [f"Quiz title: {chapter}", ""]
    for number, question in enumerate(bank(chapter).questions, 1):
        lines.append(f"{number}. {flat(question.text)}")
        for letter, option in zip("abcde", question.options, strict=False):
            lines += [f"{'*' if option.right else ''}{letter}) {flat(option.text)}", f"... {flat(option.why)}"]
        lines.append("")
    return "\n".join(lines)


def export(folder: Path) -> list[Path]:
    """Write every chapter's questions as GIFT and as a QTI archive, by ``text2qti``.

    Returns
    -------
    list of Path
        What was written.
    """
    from text2qti.config import Config
    from text2qti.qti import QTI
    from text2qti.quiz import Quiz

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for chapter in chapters():
        written.append(folder / f"{chapter}.gift")
        written[-1].write_text(gift(chapter), encoding="utf-8")
        written.append(folder / f"{chapter}.zip")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / written[-1].name
            QTI(Quiz(text2qti(chapter), config=Config(), source_name=chapter)).save(made)
            made.replace(written[-1])
    return written


def main() -> int:
    """Export the questions; return 0 if it worked."""
    parser = argparse.ArgumentParser(prog="python -m book.tools.questions", description="Questions for Moodle, Canvas.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("book/_build/questions"))
    try:
        written = export(parser.parse_args().folder)
    except (FedPromptError, OSError) as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1
    print(f"{len(written)} files: {written[0].parent if written else 'no chapter has questions'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
