"""Which rows are used: what is missing of train, dev and test is split off, and labels are drawn (chapter 4)."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import xxhash

from ..config import Data
from ..errors import FedPromptError
from .corpora import SPLITS, Corpus
from .readers import Columns, fold, take, text_keys

DEV_SHARE = 0.2  # of the rows of a file that is split into train and dev
WELLER = (8_000, 1_000)  # Weller et al. (2022): training and dev rows of each XGLUE dev file; the rest is the test set
WELLER_ROWS = 10_000


class Draw(NamedTuple):
    """How many labels of a language are used, and which; see ``load_task``."""

    seed: int
    asked: Data
    label_budget: int | None

    def rng(self, *words: str) -> random.Random:
        """Give the random numbers of one purpose, which no other purpose and no other language shares."""
        return random.Random("-".join([words[0], str(self.seed), *words[1:]]))


def digest(language: str, splits: dict[str, Columns]) -> str:
    """Hash the rows of one language, wherever they were read from: 128-bit XXH3 in hexadecimal."""
    return xxhash.xxh3_128_hexdigest(json.dumps([language, splits], sort_keys=True).encode())


def complete(corpus: Corpus, language: str, splits: dict[str, Columns], draw: Draw) -> list[str]:
    """Split off what is missing of train, dev and test, and say so.

    Where rows of one number translate one another, they go to the same part in every language.
    """
    missing = [split for split in SPLITS if split not in splits]
    if not missing:
        return []
    own = corpus.task == "own"
    source = "train" if "train" in splits and (own or "dev" not in splits) else "dev"
    columns, size = splits[source], len(splits[source]["label"])
    targets = tuple(split for split in SPLITS if split == source or split in missing)
    sizes, why = (size - max(1, round(DEV_SHARE * size)),), f"for there is no {missing[0]} file"
    if len(targets) == 3 and own:
        sizes, why = (round(0.8 * size), round(0.1 * size)), "80/10/10%, for there is no test split"
    elif len(targets) == 3:
        sizes, rule = WELLER, "8,000/1,000/rest"
        if size < WELLER_ROWS:
            sizes, rule = (round(0.8 * size), round(0.1 * size)), f"{rule} of 10,000; here 80/10/10%"
        why = f"as Weller et al. (2022) do ({rule}), for English alone has a training file"
    names = ["text"] if "text_pair" in columns else [name for name in columns if name != "label"]
    keys: Sequence[Hashable] = [tuple(map(fold, row)) for row in zip(*(columns[name] for name in names), strict=True)]
    rng = draw.rng(corpus.task, language, "split")
    if corpus.parallel:
        keys, rng = [row // corpus.parallel for row in range(size)], draw.rng(corpus.task, "split")
    for split, rows in zip(targets, deal(language, keys, columns["label"], sizes, rng), strict=True):
        splits[split] = take(columns, rows)
    shares = ", ".join(f"{len(splits[split]['label']):,} {split}" for split in targets)
    return [f"{language}: the {size:,} rows of the {source} file are split, {why}: {shares}, by seed and label"]


def deal(
    language: str, keys: Sequence[Hashable], labels: Sequence[str], sizes: Sequence[int], rng: random.Random
) -> list[list[int]]:
    """Deal rows to parts with the same mix of labels; rows with the same key stay together.

    The rows of each label, in drawn order, are spread evenly over one line, and the line is cut at `sizes`, the last
    part taking the rest. A key is a text, or the premise that several sentence pairs share.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    strata = defaultdict(list)
    for rows in rng.sample(list(groups.values()), len(groups)):
        strata[tuple(sorted(labels[row] for row in rows))].append(rows)
    line = sorted(
        ((number + 0.5) / len(stratum), mix, rows)
        for mix, stratum in strata.items()
        for number, rows in enumerate(stratum)
    )
    parts: list[list[int]] = [[] for _ in range(len(sizes) + 1)]
    for _, _, rows in line:
        room = (part for part, size in enumerate(sizes) if len(parts[part]) + len(rows) <= size)
        parts[next(room, len(sizes))] += rows
    if not all(parts):
        what = f"{language}: {len(keys)} rows with {len(groups)} different texts are too few"
        raise FedPromptError(f"{what} to split off what is missing; write the missing file, or add rows")
    return parts


def choose(corpus: Corpus, language: str, splits: dict[str, Columns], draw: Draw) -> list[str]:
    """Keep the training and dev rows that are drawn, in drawn order; say what was left out for another reason.

    A label budget is spent on training rows alone, a share of it for dev; where rows translate one another, the dev
    labels are drawn from the dev split, so that no language trains on what another is tuned on.
    """
    shuffled = draw.rng(corpus.task, language, "order").sample(range(n := len(splits["train"]["label"])), n)
    train, dev, notes = take(splits["train"], shuffled), splits["dev"], []
    if draw.label_budget is None:
        kept = _order(corpus, language, train, draw)[: draw.asked.train_size]
        rows = range(len(dev["label"]))
        if (size := draw.asked.dev_size) and size < len(rows):
            rows = sorted(draw.rng(corpus.task, language, "dev").sample(rows, size))
        splits |= {"train": take(train, kept), "dev": take(dev, rows)}
        return notes
    known, fresh = {*text_keys(dev), *text_keys(splits["test"])}, []
    for row, key in enumerate(text_keys(train)):
        if key not in known:
            fresh.append(row)
            known.add(key)
    if repeats := n - len(fresh):
        notes = [f"{language}: {repeats:,} training texts are in dev or test too, or come twice, and are left out"]
    pool, budget, share = take(train, fresh), draw.label_budget, draw.asked.dev_share
    order, for_dev = _order(corpus, language, pool, draw, dev), int(budget * share)
    if corpus.parallel:
        budget -= for_dev
        if for_dev > (n_dev := len(dev["label"])):
            what = f"{language}: {for_dev} dev labels of the budget are asked for, but the dev split has {n_dev}"
            raise FedPromptError(f"{what}; lower label_budget or dev_share")
        at = draw.rng(corpus.task, language, "dev").sample(range(n_dev), for_dev)
        splits |= {"train": take(pool, order[:budget]), "dev": take(dev, at)}
    if len(order) < budget:
        what = f"{language}: a label budget of {draw.label_budget} is asked for, but {len(order)} can be drawn"
        balanced = _is_excerpt(corpus, language, train["label"])
        why = " with the corpus's own class shares from this class-balanced excerpt" if balanced else ""
        step = "add training rows" if corpus.task == "own" else "name a folder with the whole training file"
        raise FedPromptError(f"{what}{why}; lower label_budget (--label-budget) or leave it out, or {step}")
    if not corpus.parallel:
        order = order[:budget]
        if draw.asked.draw == "balanced":
            draw.rng(corpus.task, language, "quarter").shuffle(order)
        is_dev = [int((i + 1) * share) > int(i * share) for i in range(budget)]  # every fourth
        parts = {"train": False, "dev": True}
        parts = {name: [row for row, of in zip(order, is_dev, strict=True) if of == x] for name, x in parts.items()}
        splits |= {name: take(pool, rows) for name, rows in parts.items()}
    return notes


def _order(corpus: Corpus, language: str, train: Columns, draw: Draw, dev: Columns | None = None) -> list[int]:
    """Return training rows, which are shuffled, in the order in which they are drawn.

    Without a budget, and ``"balanced"``: by class in turn. ``"natural"``: as they come; from a class-balanced excerpt
    (MasakhaNEWS's files of 50 a class) with the class shares of the official dev split, until a class has no more.
    Those splits are stratified: where the whole training file is there, its shares and dev's differ by 0.01 at most.
    """
    labels = train["label"]
    if dev is None or draw.asked.draw == "balanced":
        rng, rank, turn = draw.rng(corpus.task, language, "classes"), Counter(), []
        for label in labels:
            turn.append(rank[label])
            rank[label] += 1
        place = {label: number for number, label in enumerate(rng.sample(sorted(rank), len(rank)))}
        return sorted(range(len(labels)), key=lambda i: (turn[i], place[labels[i]]))
    if not _is_excerpt(corpus, language, labels):
        return list(range(len(labels)))
    size, official = corpus.rows[language][0], Counter(dev["label"])
    whole = [x for x, n in sorted(official.items()) for _ in range(round(size * n / official.total()))]
    left = {label: [i for i, each in enumerate(labels) if each == label][::-1] for label in set(labels)}
    order = []
    for label in draw.rng(corpus.task, language, "shares").sample(whole, len(whole)):
        if not left.get(label):
            break
        order.append(left[label].pop())
    return order


def _is_excerpt(corpus: Corpus, language: str, labels: list[str]) -> bool:
    """Whether training rows are fewer than published, and as many of each class, but for a few repeats."""
    published, found = (corpus.rows.get(language) or (0,))[0], Counter(labels).values()
    return len(labels) < published and 10 * (max(found) - min(found)) < max(found)
