"""Make the table of chapter 14 from its records: ``python -m book.beyond.scores``, a row a run and language."""

import json
from pathlib import Path

import pandas as pd

from book.research.evidence import interval

FOLDER = Path("book/results/beyond")
COLUMNS = ["task", "method", "budget", "setting", "seed", "language", "f1", "accuracy", "floor_f1", "floor_accuracy"]


def scores(folder: Path = FOLDER) -> pd.DataFrame:
    """Read the records of a folder: F1 of entities or answers, accuracy of words or exact answers, and their floors."""
    rows = []
    for line in (folder / "records.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        config = record["config"]
        for language, found in record["test"].items():
            # Of words, the floor says O for each, so it finds no entity at all.
            head = [config["task"], config["method"], config["label_budget"][0], config["setting"], config["seed"]]
            measured = [found.get("entity_f1", found["macro_f1"]), found["accuracy"]]
            rows.append([*head, language, *measured, record["floor"][language], record["majority"][language]])
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(COLUMNS[:6], ignore_index=True)


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Say what a federation gives over training alone, the head alone, by budget; ``fall`` is against 256 sentences."""
    names = table[(table["task"] == "masakhaner2") & (table["method"] == "head")]
    means = names.pivot_table(index=["budget", "seed"], columns="setting", values="f1")
    gain, rows = means["federated"] - means["local"], []
    for budget in gain.index.unique("budget"):
        fall = (gain[budget] - gain[256]).dropna()
        rows.append(
            [budget, len(gain[budget]), gain[budget].mean(), *interval(gain[budget]), fall.mean(), *interval(fall)]
        )
    parts = ("gain", "gain_low", "gain_high", "fall", "fall_low", "fall_high")
    return pd.DataFrame(rows, columns=["budget", "seeds", *parts])


def main() -> None:
    """Write ``scores.csv`` and ``gains.csv`` beside the records."""
    table = scores()
    for name, made in (("scores", table), ("gains", gains(table))):
        made.round(6).to_csv(FOLDER / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
