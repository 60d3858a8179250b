"""Run records as two tidy tables, for chapters and for readers with tools of their own: one row an observation."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fedprompt_helpers.config import FIELDS, RunConfig
from fedprompt_helpers.records import bytes_so_far

from .store import Store, dev_accuracy, open_store

FIRST = ("task", "method", "setting", "aggregation", "partition", "seed", "train_size")
"""Fields of the configuration that always have a column, in this order; those that vary over the records follow."""

COURSE = ["name", "step", "number", "language", "train_loss", "dev_loss", "dev_accuracy", "dev_macro_f1", "bytes"]
COURSE += ["kept", "seconds"]


def scores_table(records: Store | str | Path) -> pd.DataFrame:
    """Collect the test scores of all records: one row a record and language.

    Parameters
    ----------
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        ``name`` of the record; fields of its configuration (``FIRST``, then those that vary; a list of names is
        written with spaces, no limit is left empty); ``language``; ``accuracy``, ``macro_f1``, ``majority`` (share of
        the most frequent class) and number of ``examples`` of the test split; ``train_examples`` of the language; and
        of the whole run, the same in each of its rows: ``dev_accuracy`` (mean over languages, where early stopping
        kept it), ``trainable`` parameters, ``megabytes`` that a federation sent, ``seconds``.
    """
    items = open_store(records).items()
    fields = [*FIRST, *(name for name in _varying([config for config, _ in items]) if name not in FIRST)]
    rows = []
    for config, record in items:
        flat = config.flat()
        run = {"name": record["name"]} | {field: _cell(flat[field]) for field in fields}
        whole = {"dev_accuracy": dev_accuracy(record), "trainable": record["parameters"]["trainable"]}
        whole |= {"megabytes": bytes_so_far(record)[-1] / 1e6 if "rounds" in record else None}
        whole |= {"seconds": record["seconds"]}
        for language, test in record["test"].items():
            row = {"language": language, "accuracy": test["accuracy"], "macro_f1": test["macro_f1"]}
            row |= {"majority": record["majority"][language], "examples": test["examples"]}
            rows.append(run | row | {"train_examples": record["examples"][language].get("train", 0)} | whole)
    return pd.DataFrame(rows)


def _varying(configs: list[RunConfig]) -> list[str]:
    """Name the fields that differ between configurations, in the order of the configuration."""
    flats = [config.flat() for config in configs]
    return [name for name in FIELDS if len({flat[name] for flat in flats}) > 1]


def _cell(value):
    """Write a list of names with spaces, and a list of such lists with bars between them."""
    if not isinstance(value, tuple):
        return value
    groups = any(isinstance(part, tuple) for part in value)
    return " | ".join(map(" ".join, value)) if groups else " ".join(map(str, value))


def rounds_table(records: Store | str | Path) -> pd.DataFrame:
    """Collect the course of all records: one row a record, round and language, or epoch and language.

    Parameters
    ----------
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        ``name`` of the record; ``step`` (``round`` of a federation, or ``epoch``) and its ``number``; ``language``
        (of pooled training ``all``, which is one training with one score); ``train_loss`` and ``seconds`` (in a
        federation those of all clients, the same in each row of a round); ``dev_loss``, ``dev_accuracy`` and
        ``dev_macro_f1`` of the language; ``bytes`` that the whole round sent, both ways; ``kept``: whether early
        stopping kept this step.
    """
    content = pd.DataFrame([row for record in open_store(records) for row in _course(record)], columns=COURSE)
    return content.astype({"bytes": "Int64"})  # whole numbers, though without a federation they are missing


def _course(record: dict) -> Iterator[dict]:
    for entry in record.get("rounds", ()):
        step = {"name": record["name"], "step": "round", "number": entry["round"]}
        for language, dev in entry["dev"].items():
            row = step | {"language": language, "train_loss": entry["train_loss"], "dev_loss": dev["loss"]}
            row |= {"dev_accuracy": dev["accuracy"], "dev_macro_f1": dev["macro_f1"]}
            row |= {"bytes": sum(entry["bytes"].values()), "kept": entry["round"] == record["best_round"]}
            yield row | {"seconds": entry["seconds"]}
    for job, entries in record.get("epochs", {}).items():
        scored = [entry for entry in entries if "dev_loss" in entry]
        kept = min(scored, key=lambda entry: entry["dev_loss"]) if scored else entries[-1] if entries else None
        language = job if job in record["test"] else "all"
        for entry in entries:
            row = {"name": record["name"], "step": "epoch", "number": entry["epoch"], "language": language}
            row |= {name: entry.get(name) for name in ("train_loss", "dev_loss", "dev_accuracy")}
            yield row | {"kept": entry is kept, "seconds": entry["seconds"]}


def write_tidy(records: Store | str | Path, folder: str | Path) -> list[Path]:
    """Write ``scores.csv`` and ``rounds.csv``.

    Returns
    -------
    list of pathlib.Path
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in (("scores", scores_table(records)), ("rounds", rounds_table(records))):
        written.append(Path(folder) / f"{name}.csv")
        content.to_csv(written[-1], index=False, float_format="%.6g", lineterminator="\n")
    return written
