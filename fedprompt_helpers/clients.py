"""What one client holds: its own texts and nobody else's, and the frozen backbone, once a process (chapter 6)."""

import functools
import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import xxhash

from .config import PROMPT_METHODS, Model, RunConfig
from .data.corpora import corpus_of
from .data.kinds import floor
from .data.loading import own_labels
from .data.partition import deal
from .data.tasks import Task, load, task_labels
from .errors import FedPromptError
from .model.backbones import choose_device, compute_dtype, load_backbone, load_tokenizer
from .model.methods import prepare
from .model.training import Encoded, encode, get_arrays, join

Labels = tuple[str, ...]
UNKNOWN, CUT = 0.02, 0.05  # shares of unknown tokens, and of cut texts, from which on a note says so


class Frozen(NamedTuple):
    """The model of this process, which all its clients share: a client loads its arrays before it trains or scores."""

    model: torch.nn.Module
    tokenizer: object
    initial: dict[str, np.ndarray]  # what every client starts from
    length: int  # tokens of a text at most
    notes: tuple[str, ...]


class Part(NamedTuple):
    """What one client holds, tokenised; dev and test of the languages that it scores."""

    train: Encoded
    dev: dict[str, Encoded]
    test: dict[str, Encoded]
    own_labels: dict[str, list[int]]  # of those that all clients have together, the ones that occur in a language


def nodes(config: RunConfig) -> int:
    """Count the clients that take part: one, if all languages are pooled."""
    return 1 if config.federation.setting == "centralised" else config.clients


def scored_by(config: RunConfig, client: int) -> tuple[str, ...]:
    """Name the languages whose dev and test splits a client scores: those it holds, or a share where several do."""
    names, clients = config.data.languages + config.data.unseen, nodes(config)
    spread = max(1, clients // len(config.data.languages))  # clients a language: the first of them scores it
    scorer = {name: i * spread % clients for i, name in enumerate(names)}
    for number, group in reversed(list(enumerate(config.data.mapping or ()))):
        scorer |= dict.fromkeys(group, number % clients)
    return tuple(name for name in names if scorer[name] == client)


@functools.lru_cache(maxsize=64)
def texts(config: RunConfig, client: int, labels: Labels) -> tuple[Task, list]:
    """Load one client's texts and nobody else's: its languages, unseen ones that it scores, its training examples.

    Artificial cuts (IID, Dirichlet, several clients a language) shuffle all languages first: every client reads all.
    """
    data, pooled = config.data, config.federation.setting == "centralised"
    if pooled or not config.natural:
        whole, parts = _everything(config, labels)
        return whole, parts if pooled else [parts[client]]
    held = [name for name in data.languages if name in config.client_languages[client]]
    task = load(config, held + [name for name in data.unseen if name in scored_by(config, client)], labels)
    return task, [task.data[name]["train"] for name in held]


@functools.lru_cache(maxsize=1)
def _everything(config: RunConfig, labels: Labels) -> tuple[Task, list]:
    whole = load(config, labels=labels)
    return whole, deal(whole, config)


def known_labels(config: RunConfig, client: int) -> Labels:
    """Return the labels that a client knows: those of the task, or of its own training files."""
    data, alone = config.data, config.natural and nodes(config) == config.clients
    held = config.client_languages[client] if alone else data.languages
    return task_labels(data.task) or own_labels(config, held)


def about(config: RunConfig, client: int, labels: Labels) -> dict:
    """Say what a client holds, without a text: sizes, majority shares and digests by language, and notes."""
    (task, parts), chosen, notes = texts(config, client, labels), config.model, []
    for language, splits in task.data.items():
        unknown, cut = unread(config, splits["train"])
        said = f"{language}: {unknown:.0%} of all tokens are unknown to the tokenizer of {chosen.backbone}"
        notes += [said] if unknown >= UNKNOWN else []
        said = f"{language}: {cut:.0%} of the training texts are cut to {chosen.max_length} tokens"
        notes += [said] if cut >= CUT else []
    scored = {name: task.data[name] for name in scored_by(config, client)}
    floors = {name: floor(task.kind, splits["test"]) for name, splits in scored.items()}
    return {
        "columns": parts[0].column_names,
        "examples": {name: {split: len(rows) for split, rows in splits.items()} for name, splits in scored.items()},
        "majority": {name: one["accuracy"] for name, one in floors.items()},
        "floor": {name: one["macro_f1"] for name, one in floors.items()},
        "digest": {name: data_digest(task, [name]) for name in scored},
        "source": {name: task.sources[name] for name in scored},
        "label_sets": {name: task.label_sets[name] for name in scored},
        "train": sum(map(len, parts)),
        "notes": [*task.notes, *notes],
    }


def unread(config: RunConfig, rows) -> tuple[float, float]:
    """Return the share of tokens that the tokenizer does not know in some texts, and that of texts that are cut."""
    given = [list(rows[name]) for name in ("text", "text_pair") if name in rows.column_names]
    tokenizer = load_tokenizer(config.model.backbone)
    ids = tokenizer(*given, verbose=False)["input_ids"] if len(rows) else []
    unknown = sum(row.count(tokenizer.unk_token_id) for row in ids) / max(1, sum(map(len, ids)))
    windows = corpus_of(config.data.task).kind == "span"  # which cut nothing off
    return unknown, sum(len(row) > config.model.max_length and not windows for row in ids) / max(1, len(ids))


@functools.lru_cache(maxsize=64)
def part(config: RunConfig, client: int, labels: Labels) -> Part:
    """Load and tokenise what one client holds; see ``texts``."""
    (task, parts), frozen = texts(config, client, labels), model(config, labels)
    options = {"max_length": frozen.length, "kind": task.kind, "labels": labels}
    tokens = functools.partial(encode, tokenizer=frozen.tokenizer, **options)
    scored = scored_by(config, client)
    dev = {name: tokens(task.data[name]["dev"]) for name in scored if len(task.data[name]["dev"])}
    test = {name: tokens(task.data[name]["test"]) for name in scored}
    own = {name: [labels.index(label) for label in task.label_sets[name]] for name in scored}
    return Part(join([tokens(each) for each in parts]), dev, test, own)


def model(config: RunConfig, labels: Labels, place: str | None = None) -> Frozen:
    """Load the frozen backbone with what a method trains, once a process, onto its device or `place`."""
    device = choose_device(config.model.device)
    dtype = compute_dtype(config.model.precision, config.model.method, device)
    kind = corpus_of(config.data.task).kind
    return _frozen(config.model, config.seed, labels, dtype, place or device.type, kind)


@functools.lru_cache(maxsize=1)
def _frozen(chosen: Model, seed: int, labels: Labels, dtype: torch.dtype, place: str, kind: str) -> Frozen:
    options: dict = {"num_labels": len(labels), "seed": seed, "dtype": dtype, "pooling": chosen.pooling, "kind": kind}
    loaded, tokenizer = load_backbone(chosen.backbone, **options)
    options = {"virtual_tokens": chosen.virtual_tokens, "prompt_init": chosen.prompt_init, "seed": seed}
    prepared, notes = prepare(loaded, chosen.method, **options).to(place), ()
    prompt = chosen.virtual_tokens if chosen.method in PROMPT_METHODS else 0
    room, least = positions(loaded) - prompt, tokenizer.num_special_tokens_to_add(pair=True) + 2
    if min(room, chosen.max_length) < least:
        raise FedPromptError(
            f"max_length is {chosen.max_length} and virtual_tokens {chosen.virtual_tokens}, but the backbone has "
            f"{room + prompt} positions and a text needs {least}; raise max_length or take fewer virtual tokens"
        )
    if room < chosen.max_length:
        said = f"texts are cut to {room} tokens, not {chosen.max_length}: the backbone has no more positions beside"
        notes = (f"{said} the virtual tokens",)
    return Frozen(prepared, tokenizer, get_arrays(prepared), min(room, chosen.max_length), notes)


def forget() -> None:
    """Let go of texts loaded before: files may have changed since."""
    for cached in (texts, _everything, part):
        cached.cache_clear()


def positions(backbone: torch.nn.Module) -> int:
    """Count the positions that a backbone has for tokens; RoBERTa's are counted from the row after the padding row."""
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return getattr(backbone.config, "max_position_embeddings", None) or 1_000_000


def data_digest(task: Task, languages: Iterable[str] | None = None) -> str:
    """Hash all texts and labels of a task, or of some of its languages: 128-bit XXH3 in hexadecimal."""
    hasher = xxhash.xxh3_128()
    for language in sorted(task.data if languages is None else languages):
        for split, rows in sorted(task.data[language].items()):
            for column in sorted(rows.column_names):
                hasher.update(json.dumps([language, split, column, list(rows[column])]).encode())
    return hasher.hexdigest()


def derive_seed(*numbers: int) -> int:
    """Mix the run's seed with, for example, a round and a client into one seed of 32 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
