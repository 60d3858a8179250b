"""What the server holds while it runs, what a run leaves behind, and finished rounds on disk: safetensors and JSON."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..config import RunConfig
from ..errors import FedPromptError
from ..files import read_json, whole, write_json
from .messages import Arrays, from_record, to_record

MEMORY = ("m_t", "v_t", "momentum_vector")  # of Flower's FedAdam and FedAvgM, from round to round


@dataclass
class Outcome:
    """What a run leaves behind."""

    #: One entry a round: ``round``, ``train_loss``, ``dev_loss``, ``dev`` (scores by language), ``bytes`` (of training
    #: and evaluation, each way), ``client_bytes`` (client by client), ``failed`` (client and reason) and ``seconds``.
    rounds: list[dict] = field(default_factory=list)
    epochs: dict[str, list[dict]] = field(default_factory=dict)  #: without one: of each training, by name
    arrays: Arrays = field(default_factory=dict)  #: the average of the best round
    last: Arrays = field(default_factory=dict)  #: the average of the last round
    own: dict[str, Arrays] = field(default_factory=dict)  #: of single clients: averages, or trained alone
    best_round: int = 0  #: the round that was best on dev
    test: dict = field(default_factory=dict)  #: by language: scores of the official test split
    start: dict = field(default_factory=dict)  #: what class sums took: ``bytes``, ``client_bytes``, ``failed``
    message_parameters: int = 0  #: numbers in the arrays that a client sends back
    client_digests: list[str] = field(default_factory=list)  #: the backbone's, at the start and at each client's end
    labels: list[str] = field(default_factory=list)  #: of all clients together
    about: list[dict] = field(default_factory=list)  #: what each client said it holds

    def facts(self) -> dict:
        """Return everything but the arrays, JSON-ready."""
        return vars(self) | {"arrays": {}, "last": {}, "own": {}}


@dataclass
class Job:
    """What the server of one run holds while it runs."""

    config: RunConfig
    names: dict[int, int]  # node id to client
    labels: tuple[str, ...]
    outcome: Outcome
    folder: Path | None  # where finished rounds, or trainings, are kept
    tell: Callable[[dict], None]
    arrays: Arrays = field(default_factory=dict)  # of the last finished round
    own: dict[str, Arrays] = field(default_factory=dict)  # averages of single clients, by number
    best: float = -np.inf  # how good the best round was on dev
    send_own: bool = False  # whether clients send, with their test scores, a model that is theirs alone

    def __post_init__(self):
        """Count the clients."""
        self.clients = len(self.names)

    def settings(self, **more) -> ConfigRecord:
        """Return what a message to a client says beside arrays."""
        return ConfigRecord({"labels": list(self.labels), **more})

    def texts(self) -> list[dict]:
        """Return the digests of what the clients hold: of other data nothing is taken over."""
        return [one["digest"] for one in self.outcome.about]

    def save(self, strategy, grid) -> None:
        """Keep everything that the next round needs, if there is a folder for it."""
        if not self.folder:
            return
        parts = {"arrays": self.arrays, "best": self.outcome.arrays}
        parts |= {f"own/{client}": arrays for client, arrays in self.own.items()}
        parts |= {f"best_own/{client}": arrays for client, arrays in self.outcome.own.items()}
        for name in MEMORY:
            if kept := getattr(strategy, name, None):
                parts[f"memory/{name}"] = dict(zip(self.arrays, kept, strict=True)) if isinstance(kept, list) else kept
        for node, context in getattr(grid, "contexts", {}).items():  # what clients keep, where the grid has it
            parts |= {f"state/{node}/{name}": from_record(context.state[name]) for name in context.state}
        facts = {"texts": self.texts(), "best": self.best, "outcome": self.outcome.facts()}
        write_state(self.folder, "round", facts, parts, len(self.outcome.rounds))

    def go_on(self, strategy, grid) -> None:
        """Take over the finished rounds of a stopped run of the same data, if there are any."""
        with read_back(self.folder):
            if not (found := read_state(self.folder, "round", self.texts())):
                return
            facts, parts = found
            self.outcome, self.best = Outcome(**facts["outcome"]), facts["best"]
            self.arrays, self.outcome.arrays = parts.pop("arrays"), parts.pop("best")
            strategy.current_arrays = to_record(self.arrays)  # what FedAvgM's momentum moves
            for part, arrays in parts.items():
                kind, name, *record = part.split("/", 2)
                if kind == "memory":
                    setattr(strategy, name, list(arrays.values()) if name == "momentum_vector" else arrays)
                elif kind == "state":
                    grid.contexts[int(name)].state[record[0]] = to_record(arrays)
                else:
                    (self.own if kind == "own" else self.outcome.own)[name] = arrays


def write_state(folder: Path, name: str, facts: dict, parts: dict[str, Arrays], number: int = 0) -> None:
    """Keep facts and arrays together; what is there stays until the new ones are whole."""
    tensors = {f"{part} {key}": np.ascontiguousarray(x) for part, arrays in parts.items() for key, x in arrays.items()}
    file = folder / f"{name}-{number}.safetensors"
    with whole(file) as temporary:
        temporary.write_bytes(save(tensors))
    write_json(folder / f"{name}.json", {"tensors": file.name, "order": list(tensors), **facts})
    for old in set(folder.glob(f"{name}-*.safetensors")) - {file}:
        old.unlink()


def read_state(folder: Path | None, name: str, texts: list | dict) -> tuple[dict, dict[str, Arrays]] | None:
    """Read what was kept, or return None if nothing was, or if it was of other texts; see ``read_back``."""
    if not folder or not (path := folder / f"{name}.json").exists():
        return None
    facts = read_json(path, "what a stopped run of this package kept")
    if facts["texts"] != texts:
        return None
    tensors, parts = load_file(folder / Path(facts["tensors"]).name), {}
    for key in facts["order"]:  # a safetensors file has an order of its own
        part, _, array = key.partition(" ")
        parts.setdefault(part, {})[array] = tensors[key]
    return facts, parts


@contextmanager
def read_back(folder: Path | None):
    """Say that what a stopped run kept cannot be read, whatever is wrong with it."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        what = f"what a stopped run kept in {folder} cannot be read ({type(error).__name__}: {error})"
        raise FedPromptError(f"{what}; begin anew with --again (again=True), or remove that folder") from error
