"""All run records in one file, one JSON object a line: ``book/results/records.jsonl``."""

import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from pydantic_core import from_json

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.files import write_text
from fedprompt_helpers.records import FORMAT

EXPECTED = "a file of run records, one JSON object a line, such as book/results/records.jsonl"


class Store:
    """Run records, found by their whole configuration; read once.

    Parameters
    ----------
    path : path
        The file; one that is not there has no records yet.

    Raises
    ------
    FedPromptError
        If the file cannot be read, or a line of it is not a run record; the message names the line.
    """

    def __init__(self, path: str | Path):
        """Read the file."""
        self.path, self._records = Path(path), {}
        self._read()

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8-sig").split("\n") if self.path.exists() else []
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FedPromptError(f"cannot read {self.path}: {reason}; expected {EXPECTED}") from error
        self._records, places = {}, {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{self.path}, line {number}"
            record = _parsed(line, where)
            config = _config(record, where)
            if self._records.setdefault(config, record) != record:
                raise FedPromptError(
                    f"{where} and line {places[config]} are different records of one configuration; keep one of them"
                )
            places.setdefault(config, number)

    def __iter__(self) -> Iterator[dict]:
        """Give the records, sorted by name."""
        return iter(sorted(self._records.values(), key=lambda record: record["name"]))

    def __len__(self) -> int:
        """Count the records."""
        return len(self._records)

    def items(self) -> list[tuple[RunConfig, dict]]:
        """Give configurations and records, sorted by the records' names."""
        return sorted(self._records.items(), key=lambda item: item[1]["name"])

    def get(self, config: RunConfig) -> dict | None:
        """Return the record whose own configuration equals the one asked for, or None."""
        return self._records.get(config)

    def add(self, *records: dict) -> int:
        """Add records and write the file at once, whole or not at all; a configuration's first record stays.

        Records that another process has added since are kept: writers wait for one another.

        Returns
        -------
        int
            How many there were no records of yet.
        """
        new = {_config(record, f"the record {record.get('name')}"): record for record in records}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            self._read()
            new = {config: record for config, record in new.items() if config not in self._records}
            self._records |= new
            if new:
                lines = (json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in self)
                write_text(self.path, "".join(f"{line}\n" for line in lines))
        return len(new)


def _parsed(line: str, where: str) -> dict:
    """Read one line, or say what is wrong with it."""
    advice = "take the line out, or restore the file"
    try:
        record = from_json(line)
        newer = record["format"] > FORMAT
        missing = [key for key in ("name", "config", "test", "majority", "seconds") if key not in record]
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).split(" at line")[0] if isinstance(error, ValueError) else "it has no format"
        raise FedPromptError(f"{where} is not a run record: {reason}; expected one JSON object; {advice}") from error
    if newer:
        raise FedPromptError(f"{where} has format {record['format']}, newer than {FORMAT}; update this package")
    if missing:
        raise FedPromptError(f"{where} is not a run record: it has no {missing[0]}; {advice}")
    return record


def _config(record: dict, where: str) -> RunConfig:
    try:
        return RunConfig.from_dict(record["config"])
    except FedPromptError as error:
        raise FedPromptError(f"{where}: {error}") from error


def open_store(records: "Store | str | Path") -> Store:
    """Return the records of a file; the same file is read anew only after it has changed."""
    if isinstance(records, Store):
        return records
    path = Path(records)
    if not path.exists():
        return Store(path)
    state = path.stat()
    return _opened(path, state.st_ino, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _opened(path: Path, _number: int, _time: int, _size: int) -> Store:
    return Store(path)


def dev_accuracy(record: dict) -> float:
    """Mean dev accuracy over languages at the epoch or round that early stopping kept; NaN without a dev split."""
    if "rounds" in record:
        best = record["rounds"][record["best_round"] - 1] if record["rounds"] else {"dev": {}}
        kept = [scores["accuracy"] for scores in best["dev"].values()]
    else:
        scored = [[entry for entry in epochs if "dev_loss" in entry] for epochs in record["epochs"].values()]
        kept = [max(one, key=lambda e: e.get("dev_macro_f1", -e["dev_loss"]))["dev_accuracy"] for one in scored if one]
    return sum(kept) / len(kept) if kept else math.nan
