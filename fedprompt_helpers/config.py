"""What one run trains, on what, and how: four small groups and a seed. No torch here: names only."""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator

from .checks import check
from .errors import FedPromptError, check_choice
from .files import read_json

# The paper's values where it states them (arXiv 2507.03003): backbone, learning rate, patience. The others are ours or
# those of its predecessor (Weller et al. 2022: batches of 32, 10 rounds of 1 epoch, 512 tokens).
PAPER = {"backbone": "FacebookAI/xlm-roberta-base", "method": "prompt-tuning", "virtual_tokens": 8, "max_length": 512}
PAPER |= {"prompt_init": "random", "learning_rate": 1e-3, "patience": 5, "batch_size": 32}
PAPER |= {"rounds": 10, "local_epochs": 1}
TRACKS = {"pocket": {}, "paper": PAPER}
"""Values that a track sets where the caller gives none."""
PAPER_LANGUAGES = {"masakhanews": ("eng", "fra", "hau", "swa", "yor")}
"""Ours, where the paper does not name its languages; see the book's page on the paper track."""

LIMIT = 1_000_000  # of what is counted: larger numbers are mistakes, refused before memory is asked for
Whole = Annotated[int, Field(ge=1, le=LIMIT)]
Real = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Task = Literal[
    "intents", "masakhanews", "xnli", "xglue-nc", "sib200", "afrisenti", "masakhaner2", "xquad",
    "own", "own-tokens", "own-span",
]  # fmt: skip
Scheme = Literal["language", "mapping", "iid", "dirichlet-label", "dirichlet-language", "dirichlet-both"]
Method = Literal["prompt-tuning", "p-tuning", "prefix-tuning", "lora", "head", "full"]
Aggregation = Literal["fedavg", "fedprox", "fedavgm", "fedadam", "fedmedian", "krum", "fedavg-distance"]


class Group(BaseModel, frozen=True, extra="forbid", strict=True):
    """A part of a configuration; nothing is converted but a NumPy number, and a list to a tuple."""

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        value = value.tolist() if type(value).__module__ == "numpy" else value
        listed = isinstance(value, Iterable) and not isinstance(value, str | BaseModel)
        return tuple(cls._plain(part) for part in value) if listed else value


class Data(Group, frozen=True):
    """Which examples there are, and who holds them (chapter 4)."""

    task: Task = Field("intents", description="The task; `fedprompt tasks` lists them.")
    languages: tuple[str, ...] = Field(("en", "de", "cy", "ga", "is"), description="The languages, one client each.")
    data_dir: str | None = Field(None, description="Folder of the task's files; else $FEDPROMPT_DATA, then the hub.")
    columns: str | None = Field(None, description="Of own data: what columns are called, as in text=tweet,label=mood.")
    split_names: str | None = Field(None, description="Of own data: what splits are called, as in dev=eval.")
    quotes: Literal["auto", "always", "never"] = Field("auto", description="Of own data: do quotes enclose a field?")
    text_field: str | None = Field(None, description="Which text is read, where there are several.")
    label_budget: tuple[Whole, ...] | None = Field(None, description="Labels a language in all, or of each language.")
    dev_share: Annotated[Real, Field(le=0.5)] = Field(0.25, description="Share of the label budget that is dev.")
    draw: Literal["natural", "balanced"] = Field("natural", description="How a budget is drawn: by class in turn?")
    train_size: Whole | None = Field(None, description="Training examples a language at most, by class in turn.")
    dev_size: Whole | None = Field(None, description="Dev examples a language at most, drawn at random.")
    test_size: Whole | None = Field(None, description="Test examples a language at most, drawn at random.")
    partition: Scheme = Field("language", description="Who holds what.")
    clients: Whole | None = Field(None, description="Number of clients; default: one a language.")
    alpha: Real | None = Field(None, description="Dirichlet concentration, for the Dirichlet partitions.")
    mapping: tuple[tuple[str, ...], ...] | None = Field(None, description="For each client, its languages.")
    unseen: tuple[str, ...] = Field((), description="Languages that are only tested: zero-shot transfer.")


class Model(Group, frozen=True):
    """What is frozen, and what is trained (chapter 2)."""

    backbone: str = Field("pocket", description="pocket, a hub id, or a Hugging Face folder.")
    method: Method = Field("p-tuning", description="What is trained.")
    virtual_tokens: Whole = Field(8, description="Virtual tokens of the prompt methods.")
    prompt_init: Literal["vocabulary", "random"] = Field("vocabulary", description="Prompts start as words, or random.")
    pooling: Literal["first", "mean"] = Field("first", description="What the head reads; mean: with one linear layer.")
    head_start: Literal["random", "prototypes", "ridge"] = Field(
        "random", description="Heads start random, or from class means or ridge regression of all clients."
    )
    max_length: Whole = Field(64, description="Longest text, in tokens; the rest is cut.")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Data type of the frozen weights.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: CUDA, else MPS, else CPU.")


class Training(Group, frozen=True):
    """How each client trains (chapter 2)."""

    local_epochs: Whole = Field(2, description="Epochs that each client trains in a round.")
    learning_rate: float = Field(1e-3, gt=0, lt=10, description="AdamW's learning rate.")
    batch_size: Whole = Field(8, description="Examples a training step.")
    patience: Whole | None = Field(5, description="Stop after this many epochs without a lower dev loss; 0: never.")
    best_by: Literal["loss", "macro-f1"] = Field("loss", description="What the best epoch or round has best on dev.")
    personal_epochs: int = Field(0, ge=0, le=LIMIT, description="Epochs of each client alone, at the end.")


class Federation(Group, frozen=True):
    """How clients become one model, or none (chapters 5 and 6)."""

    setting: Literal["federated", "local", "centralised"] = Field("federated", description="Together, alone, pooled.")
    rounds: int = Field(5, ge=0, le=LIMIT, description="Rounds of the federation; 0: the start of the head alone.")
    aggregation: Aggregation = Field("fedavg", description="How updates become one.")
    proximal_mu: Real = Field(0.01, description="FedProx: weight of the proximal term.")
    server_learning_rate: Real | None = Field(None, description="FedAvgM, FedAdam: default 1, FedAdam's 0.1.")
    server_momentum: float = Field(0.9, ge=0, lt=1, description="FedAvgM, FedAdam: the server's momentum.")
    distance_scale: float = Field(0.2, gt=0, le=LIMIT, description="fedavg-distance: where a weight is a third.")
    update_precision: Literal["float32", "float16", "int8"] = Field("float32", description="How updates travel.")
    head: Literal["shared", "local"] = Field("shared", description="The head: shared, or local to each client.")
    prompt: Literal["shared", "local"] = Field("shared", description="All that is trained but the head: the same.")
    min_share: float = Field(0.5, ge=0, le=1, description="Stop if a smaller share sends sound updates.")


GROUPS = {"data": Data, "model": Model, "training": Training, "federation": Federation}
FIELDS = {name: field for group in GROUPS.values() for name, field in group.model_fields.items()}
"""Every field but the seed, by name: its default and its description, from which the options are made."""
DEFAULTS = {name: field.default for name, field in FIELDS.items()} | {"server_learning_rate": 1.0, "seed": 0}
CHOICES = {x: get_args(field.annotation) for x, field in FIELDS.items() if get_origin(field.annotation) is Literal}
"""What there is to choose from, for the fields that are one of a few names."""
TASKS, METHODS, SCHEMES = CHOICES["task"], CHOICES["method"], CHOICES["partition"]
PROMPT_METHODS = ("prompt-tuning", "p-tuning", "prefix-tuning")
# Beside the fields in Flower's run configuration: folders for record, finished rounds and model, and of which round.
EXTRA = ("output", "folder", "save", "save-round")
LISTS = ("languages", "unseen")  # text separated by commas, on the command line and in Flower


def from_text(given: dict[str, Any]) -> dict[str, Any]:
    """Read the values of a configuration as the command line and Flower carry them; empty text is nothing given."""
    given = {key: value for key, value in given.items() if key not in EXTRA and (value != "" or key == "languages")}
    values = {key.replace("-", "_"): value for key, value in given.items()}
    for name in {*LISTS} & {*values}:
        values[name] = tuple(part.strip() for part in str(values[name]).split(",") if part.strip())
    if "mapping" in values:
        try:
            values["mapping"] = json.loads(values["mapping"])
        except ValueError:  # then it is the name of a file
            values["mapping"] = read_json(values["mapping"], 'a JSON list of lists such as [["en", "de"], ["cy"]]')
    return values


def _said(error: ValidationError) -> str:
    """Say the first fault in one line: the field, what it is, and what it must be, or the nearest names."""
    fault = error.errors()[0]
    name, found, must = str(fault["loc"][0]), fault["input"], fault["msg"].removeprefix("Input should be ")
    if name in CHOICES:
        check_choice(name, found, CHOICES[name])
    must = "a list of names, such as ('en', 'cy')" if fault["type"] == "tuple_type" else must
    return f"{name} is {found!r}; it must be {must}"


class RunConfig(Group, frozen=True):
    """What one run trains, on what, and how. Same configuration, same machine: same scores.

    Parameters
    ----------
    **values
        Fields of the four groups by name, and ``seed``, which governs everything that is drawn:
        ``RunConfig(languages=("en", "cy"), rounds=3)``. What is left out takes its default.

    Raises
    ------
    FedPromptError
        Naming the value, what was expected, and the nearest available names.
    """

    data: Data
    model: Model
    training: Training
    federation: Federation
    seed: int = Field(0, ge=0, lt=2**32, description="Governs everything that is drawn.")

    def __init__(self, **values: Any):
        for name in values.keys() - DEFAULTS.keys():
            check_choice("field of a configuration", name, [*FIELDS, "seed"])
        if values.get("server_learning_rate") is None:
            values["server_learning_rate"] = 0.1 if values.get("aggregation") == "fedadam" else 1.0
        values |= {"patience": None} if values.get("patience") == 0 else {}
        if isinstance(values.get("label_budget"), int | str):  # text, as the command line and Flower carry it
            parts = str(values["label_budget"]).split(",")
            values["label_budget"] = tuple(int(part) if part.strip().isdecimal() else part for part in parts)
        try:
            for name, group in GROUPS.items():
                values[name] = group(**{field: values.pop(field) for field in group.model_fields if field in values})
            super().__init__(**values)
        except ValidationError as error:
            raise FedPromptError(_said(error)) from error
        check(self, DEFAULTS)

    def flat(self) -> dict[str, Any]:
        """Return every field by its name, the groups laid aside."""
        return {name: value for group in GROUPS for name, value in getattr(self, group)} | {"seed": self.seed}

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON-ready values: what a run record holds."""
        return json.loads(json.dumps(self.flat()))

    def to_text(self) -> dict[str, Any]:
        """Return it as text for `from_text`, as Flower carries it: names with hyphens, "" for nothing."""
        made = {name: "" if value is None else value for name, value in self.to_dict().items()}
        made |= {name: ",".join(map(str, made[name])) for name in (*LISTS, "label_budget")}
        made |= {"mapping": made["mapping"] and json.dumps(made["mapping"]), "patience": made["patience"] or 0}
        return {name.replace("_", "-"): value for name, value in made.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Rebuild a configuration stored in a run record, also of an older version that had fewer fields."""
        if unknown := values.keys() - DEFAULTS.keys():
            what = f"the configuration has an unknown field {sorted(unknown)[0]!r}; expected those of RunConfig"
            raise FedPromptError(f"{what}; use the version of this package that wrote it")
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
    def own_models(self) -> bool:
        """Whether a federation's clients end with models of their own, made by themselves."""
        return bool(self.training.personal_epochs or "local" in (self.federation.head, self.federation.prompt))

    @property
    def natural(self) -> bool:
        """Whether a client holds whole languages, and nobody else holds them: no artificial cut."""
        return self.data.partition in ("language", "mapping") and self.clients == len(self.client_languages)

    @property
    def epochs(self) -> int:
        """How often each training example is seen at most, in every setting: the equal budget."""
        return self.federation.rounds * self.training.local_epochs + self.training.personal_epochs
