"""A trained model in a folder of its own: PEFT's adapter, all that was trained by name, and a card (chapter 2)."""

import json
import tempfile
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .cards import card
from .clients import Frozen, model
from .config import RunConfig
from .data.corpora import corpus_of
from .errors import FedPromptError, check_choice
from .federation.state import Outcome
from .files import read_json
from .model.counting import backbone_digest
from .model.kinds import said, unlabelled
from .model.training import encode, predict, set_arrays
from .texts import as_texts

FACTS, ARRAYS, CARD, CONFIG = "fedprompt.json", "trained.safetensors", "README.md", "adapter_config.json"
FORMAT, EXPECTED = 1, "a folder that `fedprompt run --save` wrote"
KEPT = ("name", "config", "labels", "label_sets", "data_digest", "backbone_digest", "machine", "versions", "code")


class Adapter(NamedTuple):
    """A saved model, loaded: the frozen backbone of this process, what was trained, and what is known of both."""

    frozen: Frozen
    arrays: dict[str, np.ndarray]
    labels: tuple[str, ...]
    label_sets: dict[str, list[str]]  # by language
    pairs: bool  # whether an example is a pair of texts
    kind: str = "text"  # of task


class Guess(NamedTuple):
    """What a model says of one text."""

    label: str
    probability: float
    cut: bool  # whether the text was longer than the model reads


def check_save(config: RunConfig, folder: Path, which: str, output: Path) -> None:
    """Check, before anything is trained, that its models can be saved so, beside the record in `output`."""
    check_choice("save_round", which, ("best", "last", "both"))
    if folder.exists() or folder.is_symlink() or output.resolve().is_relative_to(folder.resolve()):
        raise FedPromptError(f"{folder} is there already, or will be for the record; name a new folder with --save")
    names = [name for name, _, _ in _own(config)]
    if which != "best" and names:
        what = f"save_round is {which!r}, but this run does not end with the one model of a federation"
        raise FedPromptError(f"{what}, whose rounds differ; leave it out")
    if wrong := [x for x in names if names.count(x) > 1 or Path(x).name != x or x == ".."]:
        what = f"a model gets a folder named by its languages, but {wrong[0]!r} is no name of a folder, or that of two"
        raise FedPromptError(f"{what}; rename a language")
    with _beside(folder) as made:
        for name in names:
            (made / name).mkdir(exist_ok=not name)


def _own(config: RunConfig) -> list[tuple[str, str, tuple[str, ...]]]:
    """List models that are not of a federation as a whole: their folders, names in ``Outcome.own``, and languages."""
    data, federation, alone = config.data, config.federation, config.federation.setting == "local"
    if federation.setting == "centralised":
        return [("", "all", data.languages + data.unseen)]
    if not (alone or config.own_models or federation.aggregation == "fedavg-distance"):
        return []
    return [("-".join(x), x[0] if alone else str(i), x) for i, x in enumerate(config.client_languages)]


@contextmanager
def _beside(folder: Path):
    """Give a temporary folder beside one that shall be there as a whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            (made := Path(name) / "made").mkdir()
            yield made
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        what = f"cannot write {folder}: {why}; free some space or name another folder with --save"
        raise FedPromptError(what) from error


def save_adapters(folder: Path, outcome: Outcome, record: dict, which: str = "best") -> None:
    """Write the models of a run into a new folder, which is there as a whole or not at all.

    Of a federation, `which` is the ``"best"`` or the ``"last"`` round, or ``"both"``, in folders of these names. If
    clients have models of their own (in ``outcome.own``), each gets a folder named by its languages.
    """
    config = RunConfig.from_dict(record["config"])
    models = {name: (outcome.own[of], languages) for name, of, languages in _own(config)}
    if not models:
        rounds = {"best": (outcome.arrays, config.data.languages + config.data.unseen), "last": (outcome.last, ())}
        models = rounds if which == "both" else {"": rounds[which]}
    trained = model(config, tuple(record["labels"]), "cpu").model
    facts = {"format": FORMAT, "pairs": "text_pair" in outcome.about[0]["columns"]}
    facts |= {name: record[name] for name in KEPT} | {"config": record["config"] | {"data_dir": None}}
    with _beside(folder) as whole:
        for name, (arrays, languages) in models.items():
            (made := whole / name).mkdir(exist_ok=not name)
            set_arrays(trained, arrays)
            if isinstance(trained, PeftModel):
                trained.save_pretrained(str(made), save_embedding_layers=False)
                # The name that the run gave: where the backbone lies on this machine is nobody's business.
                settings = json.loads((made / CONFIG).read_text("utf-8"))
                _write(made / CONFIG, settings | {"base_model_name_or_path": record["config"]["backbone"]})
            save_file({x: np.ascontiguousarray(values) for x, values in arrays.items()}, made / ARRAYS)
            of = {x: {y: record[x][y] for y in languages} for x in ("test", "majority", "examples")}
            _write(made / FACTS, facts | of)
            _write(made / CARD, card(facts | of))
        whole.rename(folder)


def _write(path: Path, content: dict | str) -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, "utf-8", newline="\n")


def load_adapter(folder: str | Path) -> Adapter:
    """Load what ``fedprompt run --save`` wrote, of any method, onto the frozen backbone of this process.

    Raises
    ------
    FedPromptError
        If the folder is no such folder, what is in it is not sound, or the backbone is not the arrays' own.
    """
    try:
        folder = Path(folder)
        models = sorted(path.parent.name for path in folder.glob(f"*/{FACTS}"))
        if models and not (folder / FACTS).exists():
            raise FedPromptError(f"{folder} holds a model in each of {', '.join(models)}; name one of these folders")
        facts = read_json(folder / FACTS, EXPECTED)
        if facts["format"] > FORMAT:
            raise FedPromptError(f"{folder} has format {facts['format']}, newer than {FORMAT}; update this package")
        # The card that it was trained on need not be here.
        config, labels = RunConfig.from_dict(facts["config"] | {"device": "auto"}), tuple(facts["labels"])
        sets, pairs, arrays = facts["label_sets"] or {}, facts["pairs"], load_file(folder / ARRAYS)
        trained_on, weights = facts["backbone_digest"]["before"], facts["machine"]["weights"]
        sound = {
            "labels": _names(facts["labels"]),
            "label_sets": all(_names(x) and set(labels).issuperset(x) for x in sets.values()),
            "pairs": isinstance(pairs, bool),
            ARRAYS: all(x.dtype == np.float32 and np.isfinite(x).all() for x in arrays.values()),
        }
        if wrong := [name for name, good in sound.items() if not good]:
            raise TypeError(f"{wrong[0]} is not as it was written")
    except (LookupError, TypeError, AttributeError, OSError, SafetensorError) as error:
        what = f"{folder} cannot be read ({type(error).__name__}: {error})"
        raise FedPromptError(f"{what}; expected {EXPECTED}, with {FACTS} and {ARRAYS}") from error
    frozen = model(config, labels)
    set_arrays(frozen.model, arrays)
    same_type = str(next(frozen.model.base_model.parameters()).dtype) == f"torch.{weights}"
    if config.model.method != "full" and same_type and backbone_digest(frozen.model) != trained_on:
        what = f"{folder} was trained on another backbone than the {config.model.backbone!r} that is here"
        raise FedPromptError(f"{what}; its scores would not hold: get the backbone that it was trained on")
    return Adapter(frozen, arrays, labels, sets, pairs, corpus_of(config.data.task).kind)


def _names(value) -> bool:
    """Tell whether something is a list of distinct texts, and not empty."""
    return isinstance(value, list) and all(isinstance(x, str) for x in value) and 0 < len(value) == len(set(value))


def classify(
    adapter: Adapter, texts: str | Iterable[str], others: str | Iterable[str] | None = None,
    *, language: str | None = None,
) -> list[Guess]:  # fmt: skip
    """Say what label each text has, and how probable the model holds it to be (chapter 2).

    Of named entities that is a tag for each of the words, which have spaces between, and their mean probability; of
    questions, whose `others` are the contexts, the answer and the probability of its ends (chapter 14).

    Parameters
    ----------
    adapter : Adapter
        From ``load_adapter``.
    texts, others : str or iterable of str
        A text or several, and for a task of sentence pairs the second of each pair. None may be empty.
    language : str, optional
        Forbid the labels that the training files of this language do not have.

    Returns
    -------
    list of Guess
        In the order of the texts.
    """
    given = [as_texts(texts), *([] if others is None else [as_texts(others)])]
    if len(given) != 1 + adapter.pairs or len(given[0]) != len(given[-1]):
        need, give = ("two texts", " and as many others") if adapter.pairs else ("one text", " alone")
        raise FedPromptError(f"this model reads {need} for each example; give texts{give}")
    sets = adapter.label_sets
    known = adapter.labels if language is None else sets[check_choice("language of this model", language, sets)]
    if not given[0]:
        return []
    tokenizer, length = adapter.frozen.tokenizer, adapter.frozen.length
    whole = tokenizer(*given, truncation=True, max_length=length + 1)["input_ids"]  # type: ignore
    columns: dict = dict(zip(("text", "text_pair"), given, strict=False))
    columns["label"] = unlabelled(adapter.kind, given[0])
    columns |= {"text": [" ".join(text.split()) for text in given[0]]} if adapter.kind == "tokens" else {}
    options = {"max_length": length, "kind": adapter.kind, "labels": adapter.labels}
    data = encode(Dataset.from_dict(columns), tokenizer, **options)
    set_arrays(adapter.frozen.model, adapter.arrays)  # a run of this process may have changed them
    logits = [np.asarray(row, np.float64) for row in predict(adapter.frozen.model, data)[0]]
    if not all(np.isfinite(row).all() for row in logits):
        raise FedPromptError("what this model says is not a number, so its arrays are not sound; train it anew")
    forbidden = [label not in known for label in adapter.labels] if adapter.kind != "span" else [False, False]
    for row in logits:
        row[..., forbidden] = -np.inf
    cut = [len(long) > length and adapter.kind != "span" for long in whole]
    return [Guess(*found, long) for found, long in zip(said(data, logits), cut, strict=True)]
