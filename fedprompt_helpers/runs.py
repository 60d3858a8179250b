"""One configuration becomes one run record on disk, on this machine or under Flower's own runtime (chapter 6)."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from .adapters import check_save, save_adapters
from .clients import about, forget, known_labels, model, nodes
from .config import RunConfig, from_text
from .data.tasks import check_languages, task_labels
from .errors import FedPromptError, check_choice
from .federation.client import client_app
from .federation.grid import run_here
from .federation.messages import from_record, to_record
from .federation.server import serve
from .federation.state import Outcome
from .files import write_json
from .model.backbones import choose_device
from .records import find_record, load_record
from .reports import by_language, make_record

server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the configuration of ``context.run_config``; leave the outcome in ``context.state``, and perhaps a record."""
    config, began = RunConfig(**from_text(context.run_config)), time.perf_counter()
    output, folder = context.run_config.get("output"), context.run_config.get("folder")
    save = context.run_config.get("save")
    options: Any = {"folder": Path(str(folder)) if folder else None, "tell": getattr(grid, "on_word", tell)}
    outcome = serve(grid, config, keep_own=bool(save), **options)
    context.state["outcome"] = ConfigRecord({"facts": json.dumps(outcome.facts())})
    context.state.update({"arrays": to_record(outcome.arrays), "last": to_record(outcome.last)})
    context.state.update({f"own/{name}": to_record(arrays) for name, arrays in outcome.own.items()})
    if output:
        path = _record_path(config, Path(str(output)).expanduser())
        record = make_record(config, outcome, time.perf_counter() - began, "flower")
        write_json(path, record)
        print(f"run record: {path}", flush=True)
        if save:
            save_adapters(Path(str(save)).expanduser(), outcome, record, str(context.run_config["save-round"]))


def tell(entry: dict) -> None:
    """Say in one line how far a federation is, where there is no progress bar."""
    if "round" in entry:
        scores = " ".join(f"{name} {scores['accuracy']:.2f}" for name, scores in entry["dev"].items())
        print(f"round {entry['round']}: loss {entry['train_loss']:.3f}, dev accuracy {scores}", flush=True)


def simulate(
    config: RunConfig, on_round: Callable[[dict], None] | None = None, *, folder: str | Path | None = None,
    keep_own: bool = False,
) -> Outcome:  # fmt: skip
    """Run a configuration on this machine: the ServerApp in this process, clients in one process a core (chapter 6).

    `on_round` is called with the entry of each round (each epoch, without a federation), see ``Outcome``. Finished
    rounds are kept in `folder`, beside Flower's own log, and a later call goes on after them. With `keep_own`, clients
    that end with a model of their own send it at the end, for ``own``. If something of the configuration is not here,
    too few clients send a sound update, or one cannot score, that is a FedPromptError.
    """
    forget()
    check_languages(config)
    settings, options = config.to_text(), {"on_word": on_round}
    pooled, card = config.federation.setting == "centralised", choose_device(config.model.device).type != "cpu"
    if (labels := task_labels(config.data.task)) and not card:
        model(config, labels)  # before the processes start: they share it
    if pooled or card:  # a card is used by one process, and forking is forbidden once it is in use
        options |= {"workers": 0 if pooled else 1, "start": "spawn"}
    settings |= {"save": "here"} if keep_own else {}  # without an output, nothing is written
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings["folder"] = str(Path(folder).absolute())
    with _flower_log(folder):
        state: Any = run_here(server_app, client_app, nodes(config), run_config=settings, **options).state
    own = {name[4:]: from_record(record) for name, record in state.items() if name.startswith("own/")}
    arrays = {name: from_record(state[name]) for name in ("arrays", "last")}
    return Outcome(**json.loads(state["outcome"]["facts"]) | arrays | {"own": own})


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
    save: str | Path | None = None, save_round: str = "best",
    on_progress: Callable[[dict], None] | None = None,
) -> Path:  # fmt: skip
    """Run a configuration and write its record, a JSON file, into a folder; one that has its record is not run twice.

    With `again` it is run even then, and the record replaced. The `runtime` ``"here"`` is processes of this machine,
    ``"flower"`` is ``flwr run``, with Flower's own simulation. `on_progress` is called after each round (federated) or
    epoch (local, centralised) with its entry. `save` is a new folder for what was trained, of the `save_round`
    ``"best"``, ``"last"`` or ``"both"`` of a federation; see ``save_adapters``. A folder that cannot be written,
    something that a run needs and is missing, and a record of other data are FedPromptErrors.
    """
    check_choice("runtime", runtime, ("here", "flower"))
    if save:
        check_save(config, Path(save), save_round, Path(output))
    elif save_round != "best":
        raise FedPromptError(f"save_round is {save_round!r}, but nothing is saved; name a folder with --save, too")
    unfinished, there = Path(output) / f".{config.name()}.unfinished", not again and find_record(output, config)
    if path := there:
        recorded = load_record(path).get("data_digest")  # old records have one for all languages, or none
        if isinstance(recorded, dict) and recorded != digests(config)["data_digest"]:
            raise FedPromptError(
                f"{path} is the record of this configuration, but its data were others: files have changed, or "
                "FEDPROMPT_DATA names another folder; --again runs it anew and replaces the record, --output keeps both"
            )
        if not save:
            return path
        if not unfinished.is_dir():  # of a run whose model could not be saved, the rounds are still there
            raise FedPromptError(f"{path} is there already, but a record holds no model; --again trains it anew")
    path, began = _record_path(config, Path(output)), time.perf_counter()
    if runtime == "flower":
        check_languages(config)
        from .flower import flwr_run

        return flwr_run(config, path, save=str(Path(save).absolute()) if save else "", save_round=save_round)
    if again:
        shutil.rmtree(unfinished, ignore_errors=True)
    outcome = simulate(config, on_progress, folder=unfinished, keep_own=save is not None)
    record = load_record(path) if there else make_record(config, outcome, time.perf_counter() - began, runtime)
    if not there:
        write_json(path, record)
    if save:
        save_adapters(Path(save), outcome, record, save_round)
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


def digests(config: RunConfig) -> dict[str, dict[str, str]]:
    """Hash what a configuration now loads of each language, as a record has it.

    ``data_digest``: the texts and labels that are drawn; ``source_digest``: all rows of the files, drawn or not.
    """
    forget()
    clients = range(nodes(config))
    labels = task_labels(config.data.task) or sorted({x for i in clients for x in known_labels(config, i)})
    told = [about(config, client, tuple(labels)) for client in clients]
    return {"data_digest": by_language(told, "digest"), "source_digest": by_language(told, "source")}
