"""What each published corpus is: labels, languages, row counts, columns of its files and of its copy on the hub."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..errors import check_choice

SPLITS = ("train", "dev", "test")


class Corpus(BaseModel):
    """Where a corpus is and what it must be like; ``corpora.toml`` has a table for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str  # the task's name
    kind: Literal["text", "tokens", "span"] = "text"  # what a row is, see ``kinds``
    title: str  # the corpus with its authors
    about: str  # one line for a list of tasks
    columns: dict[str, str]  # columns of a file: the name here, and the name in the file's header
    labels: tuple[str, ...] = ()  # all labels in order; empty: those of the training files
    folder: str = ""  # folder in a local mirror
    file: str = "{language}/{split}.tsv"  # path of a file in it
    packaged: bool = False  # whether the folder is in this package, and nowhere else
    reads: tuple[str, ...] = SPLITS  # the splits to read; what is missing of train, dev and test is split off them
    spare: str = "dev"  # the split whose file may be missing
    fields: dict[str, tuple[str, ...]] = {}  # for each choice of text_field, the default first, its columns
    hub: str = ""  # data set on the hub
    config: str = "{language}"  # its configuration there
    revision: str | None = None
    dev: str = "validation"  # name of the dev split there
    hub_columns: dict[str, str] = {}  # like `columns`, on the hub
    rows: dict[str, tuple[int, ...]] = {}  # for each published language the rows of `reads`; () if not known
    # Rows of one number translate one another in every language; so many share a premise, or contexts an article.
    parallel: int = 0
    header: bool = True  # whether a file's first row names its columns, in any order; else they are `columns`, in order
    quoted: bool = True  # whether a field may stand in double quotes, with tabs, line breaks and doubled quotes inside


def _read(task: str, table: dict[str, Any]) -> Corpus:
    """Make a corpus of its table, where `sizes` are the rows of each of its `languages`."""
    rows: Any = dict.fromkeys(table.pop("languages", "").split(), table.pop("sizes", ()))
    return Corpus(task=task, **{"rows": rows} | table)


CORPORA = {
    task: _read(task, table)
    for task, table in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
}


def corpus_of(task: str) -> Corpus:
    """Return the corpus of a task, or say which tasks there are."""
    return CORPORA[check_choice("task", task, CORPORA)]
