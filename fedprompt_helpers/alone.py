"""Training without a federation: each language alone, or all languages pooled."""

import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from . import head_start, simulation, tuning
from .accounting import backbone_digest
from .clients import derive_seed, load_clients
from .config import RunConfig
from .errors import FedPromptError
from .files import write_json

POLL = 0.5
"""Seconds between two looks at how far the trainings are."""


def train_alone(config: RunConfig, on_progress: Callable[[dict], None] | None, folder: Path) -> dict:
    """Train each language alone, or all pooled, for as many epochs as the federation's clients see.

    Each finished training is kept in `folder`, so that a run that was stopped goes on after it. Several languages
    train side by side, one process a core with one thread each, as the clients of the federation do.

    Returns
    -------
    dict
        ``epochs``: for each training its list of epochs; ``test``: scores per language; ``client_digests``:
        ``accounting.backbone_digest`` in each process after training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(config.languages) if config.setting == "local" else ["all"]
    waiting = [number for number, name in enumerate(names) if not (folder / f"{name}.json").exists()]
    if on_progress:
        for name in names:
            for entry in json.loads((folder / f"{name}.json").read_text())["epochs"] if _kept(folder, name) else ():
                on_progress({"job": name, **entry})
    if len(waiting) > 1 and simulation.usable_cores() > 1:
        load_clients(config)  # before the processes start: they share it
        _side_by_side(config, waiting, names, on_progress, folder)
    else:
        for number in waiting:
            _train_one(config, number, names[number], folder, on_progress)
    done = {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
    return {
        "epochs": {name: job["epochs"] for name, job in done.items()},
        "test": {language: scores for job in done.values() for language, scores in job["test"].items()},
        "client_digests": [job["digest"] for job in done.values()],
    }


def _kept(folder: Path, name: str) -> bool:
    return (folder / f"{name}.json").exists()


def _train_one(config: RunConfig, number: int, name: str, folder: Path, on_progress=None) -> None:
    """Train one language, or all pooled, score it on its test splits, and keep the result."""
    clients = load_clients(config)
    local = config.setting == "local"
    languages = [name] if local else list(config.languages)
    data = clients.train[number] if local else tuning.join(clients.train)
    tuning.load_arrays(clients.model, clients.initial)
    if config.head_start == "prototypes":
        sums = head_start.statistics(clients.model, data, len(clients.task.labels))
        tuning.load_arrays(clients.model, clients.initial | head_start.prototype_head(list(clients.initial), sums))
    history = tuning.train(
        clients.model,
        data,
        tuning.join([clients.dev[language] for language in languages]),
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        patience=config.patience,
        seed=derive_seed(config.seed, 0, number),
        on_epoch=(lambda entry: on_progress({"job": name, **entry})) if on_progress else None,
    )
    scored = languages if local else clients.test
    scores = {language: tuning.evaluate(clients.model, clients.test[language])._asdict() for language in scored}
    write_json(folder / f"{name}.json", {"epochs": history, "test": scores, "digest": backbone_digest(clients.model)})


def _train_one_elsewhere(config: RunConfig, number: int, name: str, folder: Path) -> None:
    """Do the same in a process of its own, one thread; say each epoch in a file that the caller reads."""
    torch.set_num_threads(1)
    with (folder / f"{name}.epochs").open("w", encoding="utf-8") as said:

        def say(entry: dict) -> None:
            said.write(json.dumps(entry) + "\n")
            said.flush()

        _train_one(config, number, name, folder, say)


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed: it would wait for work for ever."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _side_by_side(config: RunConfig, waiting: list[int], names: list[str], on_progress, folder: Path) -> None:
    """Train several languages, one process a core, and pass on what they say."""
    for number in waiting:
        (folder / f"{names[number]}.epochs").unlink(missing_ok=True)
    said = dict.fromkeys((names[number] for number in waiting), 0)
    workers = min(simulation.usable_cores(), len(waiting))
    with ProcessPoolExecutor(workers, simulation.process_context(), initializer=_end_with_parent) as pool:
        running = {pool.submit(_train_one_elsewhere, config, number, names[number], folder) for number in waiting}
        try:
            while running:
                finished, running = wait(running, POLL, FIRST_COMPLETED)
                for name in said if on_progress else ():
                    lines = _whole_lines(folder / f"{name}.epochs")
                    for line in lines[said[name] :]:
                        on_progress(json.loads(line))
                    said[name] = len(lines)
                for future in finished:
                    future.result()
        except BrokenProcessPool as error:
            raise FedPromptError(
                "a process that trained a language was killed, perhaps for want of memory; what is finished is kept: "
                "free some memory and give the same command again"
            ) from error
        finally:
            for future in running:
                future.cancel()


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
