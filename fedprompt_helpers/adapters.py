"""A trained model in a folder of its own: what PEFT reads, what ``predict`` needs, and a card (chapter 2).

Beside PEFT's adapter lie all trained arrays by name: of P-tuning's prompt encoder PEFT keeps the output alone.
"""

import json
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from huggingface_hub import ModelCardData
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .clients import Frozen, model
from .config import DEFAULTS, RunConfig
from .errors import FedPromptError, check_choice
from .federation.state import Outcome
from .files import read_json, write_json, write_text
from .model.counting import backbone_digest
from .model.training import Encoded, predict, set_arrays

FACTS, ARRAYS, CARD, CONFIG = "fedprompt.json", "trained.safetensors", "README.md", "adapter_config.json"
FORMAT = 1
EXPECTED = "a folder that `fedprompt run --save` wrote"
KEPT = ("name", "config", "labels", "label_sets", "data_digest", "backbone_digest", "machine", "versions", "code")


class Adapter(NamedTuple):
    """A saved model, loaded: the frozen backbone of this process, what was trained, and what is known of both."""

    frozen: Frozen
    arrays: dict[str, np.ndarray]
    labels: tuple[str, ...]
    label_sets: dict[str, list[str]]  # by language
    pairs: bool  # whether an example is a pair of texts


class Guess(NamedTuple):
    """What a model says of one text."""

    label: str
    probability: float
    cut: bool  # whether the text was longer than the model reads


def check_save(config: RunConfig, folder: Path, which: str) -> None:
    """Check, before anything is trained, that its models can be saved so."""
    check_choice("save_round", which, ("best", "last", "both"))
    if folder.exists():
        raise FedPromptError(f"there is something at {folder} already; name a new folder with --save")
    training, federation = config.training, config.federation
    own = training.personal_epochs or "local" in (federation.head, federation.prompt)
    if which != "best" and (federation.setting != "federated" or own or federation.aggregation == "fedavg-distance"):
        raise FedPromptError(f"save_round is {which!r}, but each client ends with a model of its own; leave it out")


@contextmanager
def _new_folder(folder: Path):
    """Give a temporary folder that gets its name when all in it is written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            made = Path(name) / "made"
            made.mkdir()
            yield made
            made.rename(folder)
    except OSError as error:
        raise FedPromptError(
            f"cannot write {folder}: {error.strerror or error}; free some space or name another folder with --save"
        ) from error


def save_adapters(folder: Path, outcome: Outcome, record: dict, which: str = "best") -> None:
    """Write the models of a run into a new folder, which is there as a whole or not at all.

    Parameters
    ----------
    folder : Path
        Where one model goes; if clients have models of their own, each goes into a folder in it named by its languages.
    outcome, record : Outcome, dict
        What the run left, with the arrays of single clients where they differ, and its record.
    which : str
        Of a federation: ``"best"``, ``"last"`` or ``"both"`` rounds; both go into folders of these names.
    """
    config = RunConfig.from_dict(record["config"])
    tested = config.data.languages + config.data.unseen
    if config.federation.setting == "centralised":
        models = {"": (outcome.own["all"], tested)}
    elif outcome.own:  # by language where each trained alone, else by the number of the client
        groups = {name: (name,) for name in tested} | {str(i): x for i, x in enumerate(config.client_languages)}
        models = {"-".join(groups[name]): (arrays, groups[name]) for name, arrays in outcome.own.items()}
    else:
        models = {"best": (outcome.arrays, tested), "last": (outcome.last, ())}
        models = models if which == "both" else {"": models[which]}
    frozen = model(config, tuple(record["labels"]), "cpu")
    pairs = "text_pair" in outcome.about[0]["columns"]
    with _new_folder(folder) as made:
        for name, (arrays, languages) in models.items():
            (made / name).mkdir(exist_ok=True)
            _save(made / name, frozen.model, arrays, record, languages, pairs)


def _save(made: Path, trained, arrays: dict[str, np.ndarray], record: dict, languages: Sequence[str], pairs: bool):
    set_arrays(trained, arrays)
    if isinstance(trained, PeftModel):
        trained.save_pretrained(str(made), save_embedding_layers=False)
        # The name that the run gave: where the backbone lies on this machine is nobody's business.
        settings = json.loads((made / CONFIG).read_text("utf-8"))
        write_json(made / CONFIG, settings | {"base_model_name_or_path": record["config"]["backbone"]})
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, made / ARRAYS)
    facts = {"format": FORMAT, "pairs": pairs, "test": {x: record["test"][x] for x in languages}}
    facts["majority"] = {x: record["majority"][x] for x in languages}
    facts |= {name: record[name] for name in KEPT} | {"config": record["config"] | {"data_dir": None}}
    write_json(made / FACTS, facts)
    write_text(made / CARD, card(facts))


def card(facts: dict) -> str:
    """Write the card of a saved model: task, languages, labels, scores with their floor, data and configuration."""
    config, base = facts["config"], facts["config"]["backbone"]
    about = {"library_name": "peft", "tags": ["federated-learning", config["method"], config["setting"]]}
    about |= {} if base == "pocket" or Path(base).exists() else {"base_model": base}
    head = ModelCardData(language=config["languages"], **about).to_yaml()
    rows = [
        f"| {x} | {facts['majority'][x]:.3f} | {scores['accuracy']:.3f} | {scores['macro_f1']:.3f} |"
        for x, scores in facts["test"].items()
    ]
    rows = (
        ["| language | majority class | accuracy | macro-F1 |", "|---|---|---|---|", *rows] if rows else ["Not tested."]
    )
    mean = ', pooling="mean"' if config["pooling"] == "mean" else ""
    load = f'fp.load_backbone("{base}", num_labels={len(facts["labels"])}{mean}).model'
    peft, alone = [f'model = PeftModel.from_pretrained({load}, "FOLDER")'], config["method"] in ("head", "full")
    made = {name: value for name, value in config.items() if value != json.loads(json.dumps(DEFAULTS[name]))}
    lists = {name: ",".join(map(str, value)) for name, value in made.items() if isinstance(value, list)}
    options = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in (made | lists).items()]
    encoder = "PEFT keeps the prompt that the encoder made, not the encoder: to train on, take `fp.load_adapter`.\n"
    return "\n".join(
        [
            f"---\n{head}\n---",
            f"# {config['task']}: {', '.join(config['languages'])}\n",
            f"{config['method']} on the frozen backbone {base}, {config['setting']}. Made with:\n",
            f"    fedprompt run {' '.join(options)}\n",
            f"Labels: {', '.join(facts['labels'])}\n",
            "## Scores on the test split\n",
            *rows,
            "\n## Use\n",
            "```python",
            "import fedprompt_helpers as fp",
            *([] if alone else ["from peft import PeftModel\n", *peft, "# or, with labels and probabilities:"]),
            'fp.classify(fp.load_adapter("FOLDER"), ["a text"])',
            "```\n",
            *([encoder] if config["method"] == "p-tuning" else []),
            "## Data\n",
            *(f"- {language}: texts and labels have the digest {x}" for language, x in facts["data_digest"].items()),
            "",
        ]
    )


def load_adapter(folder: str | Path) -> Adapter:
    """Load what ``fedprompt run --save`` wrote, of any method, onto the frozen backbone of this process.

    Raises
    ------
    FedPromptError
        If the folder is no such folder, or the backbone is not the one that the arrays were trained on.
    """
    folder = Path(folder)
    facts = read_json(folder / FACTS, EXPECTED)
    try:
        if facts["format"] > FORMAT:
            raise FedPromptError(f"{folder} has format {facts['format']}, newer than {FORMAT}; update this package")
        config, labels, sets = RunConfig.from_dict(facts["config"]), tuple(facts["labels"]), facts["label_sets"]
        trained_on, weights, pairs = facts["backbone_digest"]["before"], facts["machine"]["weights"], facts["pairs"]
        arrays = load_file(folder / ARRAYS)
    except (LookupError, TypeError, OSError, SafetensorError) as error:
        what = f"{folder} cannot be read ({type(error).__name__}: {error})"
        raise FedPromptError(f"{what}; expected {EXPECTED}, with {FACTS} and {ARRAYS}") from error
    frozen = model(config, labels)
    set_arrays(frozen.model, arrays)
    same_type = str(next(frozen.model.base_model.parameters()).dtype) == f"torch.{weights}"
    if config.model.method != "full" and same_type and backbone_digest(frozen.model) != trained_on:
        raise FedPromptError(
            f"{folder} was trained on another backbone than the {config.model.backbone!r} that is here; its scores "
            "would not hold: get the backbone that it was trained on"
        )
    return Adapter(frozen, arrays, labels, sets, pairs)


def classify(
    adapter: Adapter, texts: Sequence[str], others: Sequence[str] | None = None, *, language: str | None = None
) -> list[Guess]:
    """Say what label each text has, and how probable the model holds it to be.

    Parameters
    ----------
    adapter : Adapter
        From ``load_adapter``.
    texts, others : sequence of str
        The texts, and for a task of sentence pairs the second of each pair. None may be empty.
    language : str, optional
        Forbid the labels that the training files of this language do not have.

    Returns
    -------
    list of Guess
        In the order of the texts.
    """
    if isinstance(texts, str):
        raise FedPromptError("texts is one text; give a list of texts")
    if (others is not None) != adapter.pairs or (others is not None and len(others) != len(texts)):
        need = "two texts for each example" if adapter.pairs else "one text for each example"
        raise FedPromptError(
            f"this model reads {need}; give texts{' and as many others' if adapter.pairs else ' alone'}"
        )
    for number, row in enumerate(zip(texts, *([others] if others is not None else ()), strict=True), 1):
        if not all(text.strip() for text in row):
            raise FedPromptError(f"text {number} is empty; leave it out, or write something in it")
    sets = adapter.label_sets
    known = adapter.labels if language is None else sets[check_choice("language of this model", language, sets)]
    if not texts:
        return []
    tokenizer, length = adapter.frozen.tokenizer, adapter.frozen.length
    given = (list(texts),) if others is None else (list(texts), list(others))
    whole = tokenizer(*given, truncation=True, max_length=length + 1)["input_ids"]  # type: ignore
    ids = tokenizer(*given, truncation=True, max_length=length)["input_ids"]  # type: ignore
    set_arrays(adapter.frozen.model, adapter.arrays)  # a run of this process may have changed them
    logits = predict(adapter.frozen.model, Encoded(ids, np.zeros(len(ids), np.int64)))[0].astype(np.float64)
    logits[:, [label not in known for label in adapter.labels]] = -np.inf
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    best = shares.argmax(axis=1)
    return [
        Guess(adapter.labels[k], float(row[k]), len(long) > length)
        for k, row, long in zip(best, shares, whole, strict=True)
    ]
