"""What the server holds while it runs, what a run leaves behind, and finished rounds on disk.

Arrays are kept as safetensors, the rest as JSON: nothing that is read back is ever executed.
"""

import dataclasses
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..config import RunConfig
from ..errors import FedPromptError
from ..files import read_json, whole, write_json
from .messages import Arrays, from_record, to_record

MEMORY = ("m_t", "v_t", "current_arrays", "momentum_vector")  # of Flower's FedAdam and FedAvgM, from round to round


@dataclasses.dataclass
class Outcome:
    """What a run leaves behind.

    Attributes
    ----------
    rounds : list of dict
        One entry a round: ``round``, ``train_loss``, ``dev_loss``, ``dev`` (per language: loss, accuracy, macro-F1,
        examples), ``bytes`` (training and evaluation, each way, all clients), ``client_bytes`` (the same, client by
        client), ``failed`` (client and reason), ``seconds``. Empty without a federation.
    epochs : dict of str to list of dict
        Without a federation, the epochs of each training, see ``model.training.train``.
    arrays : dict of str to numpy.ndarray
        The averaged arrays of the round with the lowest mean dev loss, ``best_round``.
    own : dict of str to dict of str to numpy.ndarray
        Arrays of single clients: their own averages of that round by number, or what each trained alone by language.
    test : dict
        Per language: loss, accuracy, macro-F1 and examples of the official test split.
    start : dict
        With ``head_start="prototypes"``, what that exchange took: ``bytes``, ``client_bytes``, ``failed``; else empty.
    message_parameters : int
        Numbers in the arrays that a client sends back.
    client_digests : list of str
        ``model.counting.backbone_digest`` at the start, and in each client's process after the last round.
    labels : list of str
        The labels of all clients together.
    about : list of dict
        What each client said it holds: numbers of examples, digests of its texts, notes.
    """

    rounds: list[dict] = dataclasses.field(default_factory=list)
    epochs: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
    arrays: Arrays = dataclasses.field(default_factory=dict)
    own: dict[str, Arrays] = dataclasses.field(default_factory=dict)
    best_round: int = 0
    test: dict = dataclasses.field(default_factory=dict)
    start: dict = dataclasses.field(default_factory=dict)
    message_parameters: int = 0
    client_digests: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    about: list[dict] = dataclasses.field(default_factory=list)

    def facts(self) -> dict:
        """Return everything but the arrays, JSON-ready."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {"arrays": {}, "own": {}}


@dataclasses.dataclass
class Job:
    """What the server of one run holds while it runs."""

    config: RunConfig
    names: dict[int, int]  # node id to client
    labels: tuple[str, ...]
    outcome: Outcome
    folder: Path | None  # where finished rounds, or trainings, are kept
    tell: Callable[[dict], None]
    arrays: Arrays = dataclasses.field(default_factory=dict)  # of the last finished round
    own: dict[str, Arrays] = dataclasses.field(default_factory=dict)  # averages of single clients, by number
    best_loss: float = np.inf

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self.names)

    def patience_is_over(self) -> bool:
        """Whether the mean dev loss has not fallen for `patience` epochs, counted as rounds times local epochs."""
        training, rounds = self.config.training, self.outcome.rounds
        waited = (len(rounds) - self.outcome.best_round) * training.local_epochs
        return bool(training.patience and rounds and waited >= training.patience)

    def finish_round(self, entry: dict, all_scored: bool) -> None:
        """Add a round; it is the best so far if its mean dev loss is, over all languages.

        A mean over fewer languages cannot be compared: such a round is never the best, unless there is no other.
        """
        outcome = self.outcome
        outcome.rounds.append(entry)
        if (entry["dev_loss"] < self.best_loss and all_scored) or not outcome.best_round:
            self.best_loss = entry["dev_loss"] if all_scored else np.inf
            outcome.arrays, outcome.own, outcome.best_round = self.arrays, self.own, entry["round"]

    def texts(self) -> list[dict]:
        """Return the digests of what the clients hold: of other data nothing is taken over."""
        return [one["digest"] for one in self.outcome.about]

    def save(self, strategy, grid) -> None:
        """Keep everything that the next round needs, if there is a folder for it."""
        outcome = self.outcome
        if not self.folder:
            return
        parts = {"arrays": self.arrays, "best": outcome.arrays}
        parts |= {f"own/{client}": arrays for client, arrays in self.own.items()}
        parts |= {f"best_own/{client}": arrays for client, arrays in outcome.own.items()}
        for name in MEMORY:
            kept = getattr(strategy, name, None)
            kept = from_record(kept) if isinstance(kept, ArrayRecord) else kept
            listed = {f"{i:06}": np.asarray(array) for i, array in enumerate(kept)} if isinstance(kept, list) else kept
            parts |= {f"memory/{name}": listed} if listed else {}
        for node, context in getattr(grid, "contexts", {}).items():  # what clients keep, where the grid has it
            parts |= {f"state/{node}/{name}": from_record(context.state[name]) for name in context.state}
        write_state(self.folder, "round", {"best_loss": self.best_loss, "outcome": outcome.facts()}, parts)

    def go_on(self, strategy, grid) -> None:
        """Take over the finished rounds of a stopped run of the same data, if there are any."""
        if not self.folder or (found := read_state(self.folder, "round")) is None:
            return
        with read_back(self.folder):
            self._take_over(*found, strategy, grid)

    def _take_over(self, facts: dict, parts: dict[str, Arrays], strategy, grid) -> None:
        outcome = Outcome(**facts["outcome"])
        if [one["digest"] for one in outcome.about] != self.texts():
            return
        order = list(self.arrays)
        outcome.arrays, self.arrays = ({name: parts[part][name] for name in order} for part in ("best", "arrays"))
        self.outcome, self.best_loss = outcome, facts["best_loss"]
        for part, arrays in parts.items():
            kind, _, rest = part.partition("/")
            if kind in ("own", "best_own"):
                (self.own if kind == "own" else outcome.own)[rest] = {name: arrays[name] for name in order}
            elif kind == "memory":
                record = rest == "current_arrays" and hasattr(strategy, "momentum_vector")  # FedAvgM's is a record
                listed = [arrays[name] for name in sorted(arrays)] if rest == "momentum_vector" else None
                ordered = {} if listed else {name: arrays[name] for name in order}
                setattr(strategy, rest, listed or (to_record(ordered) if record else ordered))
            elif kind == "state":
                node, _, name = rest.partition("/")
                grid.contexts[int(node)].state[name] = to_record(arrays)


def write_state(folder: Path, name: str, facts: dict, parts: dict[str, Arrays]) -> None:
    """Keep facts and arrays together; what is there stays until the new ones are whole."""
    number = len(facts.get("outcome", {}).get("rounds", ()))
    tensors = {f"{part} {key}": np.ascontiguousarray(x) for part, arrays in parts.items() for key, x in arrays.items()}
    file = folder / f"{name}-{number}.safetensors"
    with whole(file) as temporary:
        temporary.write_bytes(save(tensors))
    write_json(folder / f"{name}.json", {"tensors": file.name, **facts})
    for old in folder.glob(f"{name}-*.safetensors"):
        if old != file:
            old.unlink()


def read_state(folder: Path, name: str) -> tuple[dict, dict[str, Arrays]] | None:
    """Read what was kept, or return None if nothing was; what cannot be read is said, not dropped in silence."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    with read_back(folder):
        facts, parts = read_json(path, "what a stopped run of this package kept"), {}
        for key, tensor in load_file(folder / Path(facts.pop("tensors")).name).items():
            part, _, array = key.partition(" ")
            parts.setdefault(part, {})[array] = tensor
    return facts, parts


@contextmanager
def read_back(folder: Path | None):
    """Say that what a stopped run kept cannot be read, whatever is wrong with it."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise FedPromptError(
            f"what a stopped run kept in {folder} cannot be read ({type(error).__name__}: {error}); begin anew with "
            "--again (again=True), or remove that folder"
        ) from error
