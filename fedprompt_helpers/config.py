"""What one run trains, on what, and how: four small groups and a seed. No torch here: names only."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, Strict, ValidationError

from .checks import check, one_line
from .errors import FedPromptError, check_choice

Task = Literal["intents", "masakhanews", "xnli", "xglue-nc", "sib200", "afrisenti", "tsv"]
Method = Literal["prompt-tuning", "p-tuning", "prefix-tuning", "lora", "head", "full"]
Scheme = Literal["language", "mapping", "iid", "dirichlet-label", "dirichlet-language", "dirichlet-both"]
Setting = Literal["federated", "local", "centralised"]
Aggregation = Literal["fedavg", "fedprox", "fedavgm", "fedadam", "fedmedian", "krum", "fedavg-distance"]
Head = Literal["shared", "local"]
HeadStart = Literal["random", "prototypes"]
PromptInit = Literal["vocabulary", "random"]
Precision = Literal["auto", "float32", "bfloat16"]
UpdatePrecision = Literal["float32", "float16", "int8"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Draw = Literal["natural", "balanced"]
Pooling = Literal["first", "mean"]

TASKS, METHODS, SCHEMES, SETTINGS = get_args(Task), get_args(Method), get_args(Scheme), get_args(Setting)
AGGREGATIONS, HEADS, HEAD_STARTS = get_args(Aggregation), get_args(Head), get_args(HeadStart)
PROMPT_INITS, PRECISIONS = get_args(PromptInit), get_args(Precision)
UPDATE_PRECISIONS, DEVICES = get_args(UpdatePrecision), get_args(Device)
DRAWS, POOLINGS = get_args(Draw), get_args(Pooling)
PROMPT_METHODS = ("prompt-tuning", "p-tuning", "prefix-tuning")

# The paper's values where it states them (arXiv 2507.03003): backbone, learning rate, patience. The others are ours or
# those of its predecessor (Weller et al. 2022: batches of 32, 10 rounds of 1 epoch, 512 tokens).
PAPER = {"backbone": "FacebookAI/xlm-roberta-base", "method": "prompt-tuning", "virtual_tokens": 8, "max_length": 512}
PAPER |= {"prompt_init": "random", "learning_rate": 1e-3, "patience": 5, "batch_size": 32}
PAPER |= {"rounds": 10, "local_epochs": 1}
TRACKS = {"pocket": {}, "paper": PAPER}
"""Values that a track sets where the caller gives none."""
PAPER_LANGUAGES = {"masakhanews": ("eng", "fra", "hau", "swa", "yor")}
"""Ours, where the paper does not name its languages; see the book's page on the paper track."""


def _plain(value: Any) -> Any:
    """Take a NumPy number for the number it is."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _names(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"it must be a list of names, such as {tuple(value.split(','))!r}")
    return tuple(value) if isinstance(value, Sequence) else value


def _groups(value: Any) -> Any:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(_names(group) for group in value) if listed else value


LIMIT = 1_000_000  # of what is counted: larger numbers are mistakes, refused before memory is asked for
Count = Annotated[int, Strict(), BeforeValidator(_plain), Field(ge=0)]
Whole = Annotated[Count, Field(ge=1, le=LIMIT)]
Real = Annotated[float, Strict(), BeforeValidator(_plain), Field(ge=0, lt=math.inf)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Budget = Annotated[
    tuple[Whole, ...] | None, BeforeValidator(lambda value: (value,) if isinstance(value, int) else value)
]
Mapping = Annotated[tuple[tuple[str, ...], ...] | None, BeforeValidator(_groups)]


class Group(BaseModel, frozen=True, extra="forbid"):
    """A part of a configuration."""


class Data(Group, frozen=True):
    """Which examples there are, and who holds them (chapter 3)."""

    task: Task = Field("intents", description="The task; `fedprompt tasks` lists them.")
    languages: Names = Field(("en", "de", "cy", "ga", "is"), description="The languages, one client each.")
    data_dir: str | None = Field(
        None, description="Folder of the task's files; default: $FEDPROMPT_DATA, then the hub."
    )
    text_field: str | None = Field(None, description="Which text is read, where there are several.")
    label_budget: Budget = Field(None, description="Labels a language in all, or each its own; a share of them is dev.")
    dev_share: Annotated[Real, Field(le=0.5)] = Field(0.25, description="Share of the label budget that is dev.")
    draw: Draw = Field("natural", description="A budget is drawn at random, or by class in turn.")
    train_size: Whole | None = Field(None, description="Without a budget: training examples a language at most.")
    dev_size: Whole | None = Field(None, description="Dev examples a language at most, drawn at random.")
    partition: Scheme = Field("language", description="Who holds what.")
    clients: Whole | None = Field(None, description="Number of clients; default: one a language.")
    alpha: Real | None = Field(None, description="Dirichlet concentration, for the Dirichlet partitions.")
    mapping: Mapping = Field(None, description="For the partition mapping: for each client, its languages.")
    unseen: Names = Field((), description="Languages that are only tested: zero-shot transfer.")


class Model(Group, frozen=True):
    """What is frozen, and what is trained (chapter 2)."""

    backbone: str = Field("pocket", description="pocket, a hub id, or a Hugging Face folder.")
    method: Method = Field("p-tuning", description="What is trained.")
    virtual_tokens: Whole = Field(8, description="Virtual tokens of the prompt methods.")
    prompt_init: PromptInit = Field("vocabulary", description="Prompt tuning starts from drawn words, or random.")
    head_start: HeadStart = Field("random", description="The head starts random, or from class means.")
    max_length: Whole = Field(64, description="Longest text, in tokens; the rest is cut.")
    precision: Precision = Field("auto", description="Data type of the frozen weights.")
    device: Device = Field("auto", description="Where it is computed; auto: CUDA, then MPS, then CPU.")


class Training(Group, frozen=True):
    """How each client trains (chapter 2)."""

    local_epochs: Whole = Field(2, description="Epochs that each client trains in a round.")
    learning_rate: Annotated[Real, Field(gt=0, lt=10)] = Field(1e-3, description="AdamW's learning rate.")
    batch_size: Whole = Field(8, description="Examples a training step.")
    patience: Whole | None = Field(5, description="Stop after this many epochs without a lower dev loss; 0: never.")
    personal_epochs: Annotated[Count, Field(le=LIMIT)] = Field(
        0, description="Epochs of each client alone, at the end."
    )


class Federation(Group, frozen=True):
    """How clients become one model, or none (chapters 4 and 5)."""

    setting: Setting = Field("federated", description="Together, each language alone, or pooled.")
    rounds: Whole = Field(5, description="Rounds of the federation.")
    aggregation: Aggregation = Field("fedavg", description="How updates become one.")
    proximal_mu: Real = Field(0.01, description="FedProx: weight of the proximal term.")
    server_learning_rate: Real | None = Field(None, description="FedAvgM, FedAdam: default 1, FedAdam's 0.1.")
    server_momentum: Annotated[Real, Field(lt=1)] = Field(0.9, description="FedAvgM, FedAdam: the server's momentum.")
    distance_scale: Annotated[Real, Field(gt=0)] = Field(0.2, description="fedavg-distance: where a weight is a third.")
    update_precision: UpdatePrecision = Field("float32", description="How updates travel.")
    head: Head = Field("shared", description="The classification head: shared, or local to each client.")
    min_share: Annotated[Real, Field(le=1)] = Field(0.5, description="Stop if a smaller share sends sound updates.")


GROUPS = {"data": Data, "model": Model, "training": Training, "federation": Federation}
FIELDS = {name: field for group in GROUPS.values() for name, field in group.model_fields.items()}
"""Every field but the seed, by name: its default and its description, from which the options are made."""
DEFAULTS = {name: field.default for name, field in FIELDS.items()} | {"server_learning_rate": 1.0, "seed": 0}


class RunConfig(Group, frozen=True):
    """What one run trains, on what, and how. Same configuration, same machine: same scores.

    Parameters
    ----------
    **values
        Fields of the four groups by name, and ``seed``, which governs everything that is drawn:
        ``RunConfig(task="intents", languages=("en", "cy"), rounds=3)``. What is left out takes its default.

    Raises
    ------
    FedPromptError
        Naming the value, what was expected, and the nearest available names.
    """

    data: Data
    model: Model
    training: Training
    federation: Federation
    seed: Annotated[Count, Field(lt=2**32)] = Field(0, description="Governs everything that is drawn.")

    def __init__(self, **values: Any):
        """Sort the values into their groups and check them."""
        for name in values:
            check_choice("field of a configuration", name, [*FIELDS, "seed"])
        if values.get("server_learning_rate") is None:
            values["server_learning_rate"] = 0.1 if values.get("aggregation") == "fedadam" else 1.0
        try:
            made = {
                name: group(**{field: values[field] for field in group.model_fields if field in values})
                for name, group in GROUPS.items()
            }
            super().__init__(**made, **({"seed": values["seed"]} if "seed" in values else {}))
        except ValidationError as error:
            raise FedPromptError(one_line(error, {name: field.annotation for name, field in FIELDS.items()})) from error
        check(self)

    def flat(self) -> dict[str, Any]:
        """Return every field by its name, the groups laid aside."""
        return {
            name: getattr(getattr(self, group), name) for group in GROUPS for name in GROUPS[group].model_fields
        } | {"seed": self.seed}

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON-ready values: what a run record holds."""
        return json.loads(json.dumps(self.flat()))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Rebuild a configuration stored in a run record, also of an older version that had fewer fields."""
        if unknown := set(values) - {*FIELDS, "seed"}:
            raise FedPromptError(
                f"the configuration has an unknown field {sorted(unknown)[0]!r}; expected fields are those of "
                "RunConfig; use the version of this package that wrote it"
            )
        return cls(**values)

    def replace(self, **values: Any) -> "RunConfig":
        """Return a copy with some fields changed."""
        return RunConfig(**self.flat() | values)

    def name(self) -> str:
        """Name the record of this configuration: readable parts, and eight digits that tell any two apart."""
        # Only what differs from the defaults, so that a field added later does not rename older records.
        chosen = {name: value for name, value in self.to_dict().items() if value != DEFAULTS[name]}
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.data.task}-{self.model.method}-{self.federation.setting}-seed{self.seed}-{digest}"

    @property
    def clients(self) -> int:
        """Number of clients of the federation."""
        return self.data.clients or len(self.data.mapping or self.data.languages)

    @property
    def client_languages(self) -> tuple[tuple[str, ...], ...]:
        """The languages of each client, for the partitions by language, one client each, and by mapping."""
        return self.data.mapping or tuple((name,) for name in self.data.languages)

    @property
    def natural(self) -> bool:
        """Whether a client holds whole languages, and nobody else holds them: no artificial cut."""
        return self.data.partition in ("language", "mapping") and self.clients == len(self.client_languages)

    @property
    def epochs(self) -> int:
        """How often each training example is seen at most, in every setting: the equal budget."""
        return self.federation.rounds * self.training.local_epochs + self.training.personal_epochs
