"""One frozen configuration: everything that a run depends on."""

import dataclasses
import json
import math

from .distance_average import weights_by_distance
from .errors import FedPromptError, check_choice
from .head_start import HEAD_STARTS
from .partition import SCHEMES, check_mapping
from .tasks import TASKS, available_languages, check_text_field
from .tuning import METHODS, PRECISIONS, PROMPT_INITS
from .updates import UPDATE_PRECISIONS

TRACKS = {
    "pocket": {},
    # The paper's values where it states them (arXiv 2507.03003): backbone, learning rate, patience. The others are
    # ours or those of its predecessor (Weller et al. 2022: batches of 32, 10 rounds of 1 epoch, 512 tokens).
    "paper": {
        "backbone": "FacebookAI/xlm-roberta-base",
        "method": "prompt-tuning",
        "virtual_tokens": 8,
        "prompt_init": "random",
        "learning_rate": 1e-3,
        "patience": 5,
        "batch_size": 32,
        "rounds": 10,
        "local_epochs": 1,
        "max_length": 512,
    },
}
"""Values that a track sets where the caller gives none."""

PAPER_LANGUAGES = {"masakhanews": ("eng", "fra", "hau", "swa", "yor")}
"""Ours, where the paper does not name its languages; see the book's page on the paper track."""

SETTINGS = ("federated", "local", "centralised")
AGGREGATIONS = ("fedavg", "fedprox", "fedavgm", "fedadam", "fedmedian", "krum", "fedavg-distance")
HEADS = ("shared", "local")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What one run trains, on what, and how. Same configuration, same machine: same scores.

    Parameters
    ----------
    task : str
        Name of a task, see ``fedprompt_helpers.tasks``.
    languages : tuple of str
        The languages, one client each unless `partition` says otherwise.
    backbone : str
        ``"pocket"``, a hub id or a Hugging Face folder.
    method : str
        What is trained, one of ``fedprompt_helpers.tuning.METHODS``.
    virtual_tokens : int
        Virtual tokens of the prompt methods; 8 by our reading of the paper's parameter count.
    prompt_init : str
        Where prompt tuning starts: ``"vocabulary"`` (vectors of drawn words) or ``"random"`` (PEFT's default). The
        paper does not state it.
    setting : str
        ``"federated"``; ``"local"``: each language alone; ``"centralised"``: all languages pooled. Local and
        centralised training get as many epochs as the federation's clients: ``rounds * local_epochs`` and
        `personal_epochs`.
    rounds, local_epochs : int
        Rounds of federated training, and epochs that each client trains in a round. The paper does not state
        them.
    learning_rate : float
        AdamW's. The paper's value is 1e-3.
    batch_size : int
        Examples a step. The paper does not state it.
    patience : int or None
        Early stopping: epochs without a lower dev loss, the paper's 5. None trains to the end. What had the lowest
        dev loss is kept either way.
    max_length : int
        Longest text in tokens; the rest is cut.
    train_size : int or None
        Training examples a language at most; None takes all.
    dev_size : int or None
        Dev examples a language at most, drawn at random; None takes all. With few training examples a large dev
        split would be an unreal luxury, and it costs time in every round.
    partition : str
        Who holds what, one of ``fedprompt_helpers.partition.SCHEMES``.
    clients : int or None
        Number of clients; None: as many as languages.
    alpha : float or None
        Dirichlet concentration, for the Dirichlet partitions.
    mapping : tuple of tuples of str or None
        For the partition ``"mapping"``: the languages of each client.
    unseen : tuple of str
        Languages that are only tested, never trained on: zero-shot transfer.
    aggregation : str
        Flower's strategy, or ``"fedavg-distance"``: each client gets an average of its own, in which near languages
        weigh more, see ``distance_average``.
    distance_scale : float
        For ``"fedavg-distance"``: the URIEL distance at which a weight has fallen to about a third. Languages of the
        book's tasks are mostly 0.2 to 0.4 apart.
    proximal_mu : float
        FedProx's weight of the proximal term.
    server_learning_rate, server_momentum : float
        FedAvgM's and FedAdam's; momentum is FedAdam's beta_1. The learning rate left out is 1, and 0.1 for FedAdam,
        whose steps do not shrink with the updates (Flower's default; Reddi et al. 2021 search from 0.001 to 10).
    update_precision : str
        ``"float32"``, ``"float16"`` or ``"int8"``: how clients send their updates.
    head : str
        ``"shared"``: the classification head is averaged too. ``"local"``: each client keeps its own.
    head_start : str
        ``"random"``, or ``"prototypes"``: before the first round each client sends class sums of its features, and
        the head starts as their nearest-class-mean classifier, see ``head_start``. Local and centralised training
        make the same head from what they hold.
    personal_epochs : int
        Epochs that each client trains on its own after the federation, before it is tested.
    min_share : float
        The run stops if fewer than this share of the clients send a sound update in a round.
    precision : str
        Data type of the frozen weights: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
    seed : int
        Governs initial values, order of examples, partition and drawn subsets.
    data_dir : str or None
        Local mirror of a task's files; None: ``$FEDPROMPT_DATA``, else the hub.
    text_field : str or None
        Which text of an example is read where there are several, such as ``"headline"``; None: the task's default.
    """

    task: str = "intents"
    languages: tuple[str, ...] = ("en", "de", "cy", "ga", "is")
    backbone: str = "pocket"
    method: str = "p-tuning"
    virtual_tokens: int = 8
    prompt_init: str = "vocabulary"
    setting: str = "federated"
    rounds: int = 5
    local_epochs: int = 2
    learning_rate: float = 1e-3
    batch_size: int = 8
    patience: int | None = 5
    max_length: int = 64
    train_size: int | None = None
    dev_size: int | None = None
    partition: str = "language"
    clients: int | None = None
    alpha: float | None = None
    mapping: tuple[tuple[str, ...], ...] | None = None
    unseen: tuple[str, ...] = ()
    aggregation: str = "fedavg"
    distance_scale: float = 0.2
    proximal_mu: float = 0.01
    server_learning_rate: float | None = None
    server_momentum: float = 0.9
    update_precision: str = "float32"
    head: str = "shared"
    head_start: str = "random"
    personal_epochs: int = 0
    min_share: float = 0.5
    precision: str = "auto"
    seed: int = 0
    data_dir: str | None = None
    text_field: str | None = None

    def __post_init__(self):
        """Check every value, but not whether the task has the languages: see ``check_languages``.

        Raises
        ------
        FedPromptError
            Naming the value, what was expected, and the nearest available names.
        """
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "unseen", tuple(self.unseen))
        if self.mapping is not None:
            object.__setattr__(self, "mapping", tuple(tuple(group) for group in self.mapping))
        if self.server_learning_rate is None:
            object.__setattr__(self, "server_learning_rate", 0.1 if self.aggregation == "fedadam" else 1.0)
        check_choice("task", self.task, TASKS)
        check_choice("method", self.method, METHODS)
        check_choice("setting", self.setting, SETTINGS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("prompt_init", self.prompt_init, PROMPT_INITS)
        check_choice("partition", self.partition, SCHEMES)
        check_choice("aggregation", self.aggregation, AGGREGATIONS)
        check_choice("update precision", self.update_precision, UPDATE_PRECISIONS)
        check_choice("head", self.head, HEADS)
        check_choice("head_start", self.head_start, HEAD_STARTS)
        check_text_field(self.task, self.text_field)
        if not self.languages:
            raise FedPromptError("no language given; name at least one, for example --languages en,cy")
        named = self.languages + self.unseen
        repeated = {x for x in named if named.count(x) > 1}
        if repeated:
            raise FedPromptError(f"language {sorted(repeated)[0]!r} is given twice; name each once")
        for name in ("rounds", "local_epochs", "batch_size", "virtual_tokens", "max_length"):
            self._at_least_one(name, getattr(self, name))
        for name in ("patience", "train_size", "dev_size", "clients"):
            if getattr(self, name) is not None:
                self._at_least_one(name, getattr(self, name))
        if not 0 < self.learning_rate < 10:
            raise FedPromptError(
                f"learning_rate is {self.learning_rate}; it must be above 0 and below 10, for example 1e-3"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise FedPromptError(f"seed is {self.seed!r}; it must be a whole number from 0 to 4294967295")
        if self.unseen and self.setting == "local":
            raise FedPromptError("unseen languages with local training: alone there is no common model to transfer")
        if self.setting == "local" and self.partition != "language":
            raise FedPromptError(
                f"local training with the partition {self.partition!r}: alone means one language alone; "
                "leave the partition out, or choose the setting federated"
            )
        if self.partition == "language" and self.clients and self.clients % len(self.languages):
            raise FedPromptError(
                f"{self.clients} clients for {len(self.languages)} languages: the partition by language gives each "
                "language one client, or several each; leave --clients out, give a multiple, or choose another "
                "partition"
            )
        if self.partition == "mapping":
            check_mapping(self.mapping, self.languages)
        elif self.mapping:
            raise FedPromptError(f"a mapping is given, but the partition is {self.partition!r}; choose mapping")
        if not 0 < self.distance_scale < math.inf:
            raise FedPromptError(f"distance_scale is {self.distance_scale}; it must be above 0, for example 0.2")
        for name in ("proximal_mu", "server_learning_rate", "server_momentum", "personal_epochs", "min_share"):
            if not 0 <= getattr(self, name) < math.inf:
                raise FedPromptError(f"{name} is {getattr(self, name)}; it must be 0 or above")
        if not 0 <= self.min_share <= 1 or self.server_momentum >= 1:
            raise FedPromptError("min_share must lie between 0 and 1, and server_momentum below 1")
        dirichlet = self.partition.startswith("dirichlet")
        if dirichlet and not (self.alpha and 0 < self.alpha < math.inf):
            found = "left out" if self.alpha is None else f"{self.alpha}"
            raise FedPromptError(
                f"alpha (--alpha) is {found}; a Dirichlet partition needs a finite concentration above 0, for example "
                "0.5"
            )
        if self.alpha is not None and not dirichlet:
            raise FedPromptError(
                f"alpha is {self.alpha}, but the partition is {self.partition!r}; leave alpha out or choose a "
                "Dirichlet partition"
            )

        if self.head == "local" and self.head_start != "random":
            raise FedPromptError("head_start='prototypes' makes a shared head; leave it at 'random' with head='local'")
        self._check_personal()
        self._check_alone()

    def _check_personal(self) -> None:
        """Check that what a client has of its own can be scored: each language is at one client."""
        by_distance = self.aggregation == "fedavg-distance"
        if self.head == "shared" and not self.personal_epochs and not by_distance:
            return
        own_head = "head='local'" if self.head == "local" else "personal_epochs"
        what = "aggregation='fedavg-distance'" if by_distance else own_head
        if self.unseen:
            raise FedPromptError(f"{what} with unseen languages: no client has a model of its own for them")
        held = [name for group in self.mapping or () for name in group] or list(self.languages)
        whole = self.partition in ("language", "mapping") and len(held) == len(set(held))
        if self.setting == "federated" and not (whole and self.num_clients <= len(self.languages)):
            raise FedPromptError(
                f"{what} needs each language at one client, or it is unclear whose model scores it; choose the "
                "partition language or mapping, and one client a language at most"
            )
        if by_distance and self.setting == "federated":
            if self.update_precision != "float32" or self.head == "local":
                raise FedPromptError(
                    f"{what} gives each client an average of its own and takes a shared head and float32 updates only; "
                    "leave head and update_precision out"
                )
            weights_by_distance(self.client_languages, [1] * self.num_clients, self.distance_scale)

    def _check_alone(self) -> None:
        """Check that training without a federation is not given what only a federation has."""
        if self.setting == "federated":
            return
        # personal_epochs may stay: they count for the equal budget.
        for name, usual in (("aggregation", "fedavg"), ("update_precision", "float32"), ("head", "shared")):
            if getattr(self, name) != usual:
                raise FedPromptError(
                    f"{name} is {getattr(self, name)!r}, but the setting is {self.setting!r}, where nothing is sent; "
                    "leave it out, or choose the setting federated"
                )

    def check_languages(self) -> None:
        """Check that the task has the languages: in the folder of its files, or on the hub.

        Raises
        ------
        FedPromptError
            Naming the nearest available languages.
        """
        available = available_languages(self.task, self.data_dir)
        for language in self.languages + self.unseen:
            check_choice("language", language, available)

    def _at_least_one(self, name: str, value) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FedPromptError(f"{name} is {value!r}; it must be a whole number of at least 1")

    @property
    def num_clients(self) -> int:
        """Number of clients of the federation."""
        return self.clients or len(self.mapping or self.languages)

    @property
    def client_languages(self) -> tuple[tuple[str, ...], ...]:
        """The languages of each client, for the partitions by language, one client each, and by mapping."""
        return self.mapping or tuple((name,) for name in self.languages)

    @property
    def epochs(self) -> int:
        """How often each training example is seen at most, in every setting: the equal budget."""
        return self.rounds * self.local_epochs + self.personal_epochs

    def to_dict(self) -> dict:
        """Return the configuration as JSON-ready values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """Rebuild a configuration stored in a run record.

        Raises
        ------
        FedPromptError
            If it names a field that this version does not have.
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise FedPromptError(
                f"the configuration has an unknown field {sorted(unknown)[0]!r}; expected fields are those of "
                "RunConfig; use the version of this package that wrote it"
            )
        return cls(**values)
