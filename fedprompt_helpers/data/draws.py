"""Which rows are used: what is missing of train, dev and test is split off, and labels are drawn (chapter 4)."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import cycle, zip_longest

import xxhash

from ..checks import OWN
from ..config import RunConfig
from ..errors import FedPromptError
from .corpora import SPLITS, Corpus
from .kinds import parts as labels_in
from .tables import Columns, take, text_keys

FEW = 50  # test examples of own data
DEV_SHARE = 0.2  # of the rows of a file that is split into train and dev
WELLER = (8_000, 1_000)  # Weller et al. (2022): training and dev rows of each XGLUE dev file; the rest is the test set
WELLER_ROWS = 10_000


def rng(seed: int, purpose: str, *words: str) -> random.Random:
    """Give the random numbers of one purpose, which no other purpose and no other language shares."""
    return random.Random("-".join([purpose, str(seed), *words]))


def digest(language: str, splits: dict[str, Columns]) -> str:
    """Hash the rows of one language, wherever they were read from: 128-bit XXH3 in hexadecimal."""
    return xxhash.xxh3_128_hexdigest(json.dumps([language, splits], sort_keys=True).encode())


def drawn(
    corpus: Corpus, config: RunConfig, language: str, splits: dict[str, Columns], labels: Sequence[str]
) -> tuple[dict[str, Columns], tuple[str, ...], list[str]]:
    """Complete the splits of one language and keep what is drawn; return also which labels it has, and what to know."""
    data, notes, whole = config.data, [], corpus.rows.get(language)
    only_tested, field = language in data.unseen, data.text_field or next(iter(corpus.fields), None)
    budgets = dict(zip(data.languages, cycle(data.label_budget or (None,))))
    if whole and not only_tested and whole != tuple(len(splits.get(x, {"label": ()})["label"]) for x in corpus.reads):
        listed = ", ".join(f"{size:,} {split}" for split, size in zip(corpus.reads, whole, strict=True))
        notes = [f"the whole corpus has {listed} rows"]
    if only_tested and "test" in splits:  # then nothing is split off
        splits |= dict.fromkeys(("train", "dev"), splits["test"])
    notes += complete(corpus, language, splits, config.seed)
    if field:
        for split, columns in splits.items():
            cells = zip(*(columns[name] for name in corpus.fields[field]), strict=True)
            splits[split] = {"text": [" ".join(filter(None, row)) for row in cells], "label": columns["label"]}
    rows = splits["test"]["label"] if only_tested else splits["train"]["label"] + splits["dev"]["label"]
    seen = {label for row in rows for label in labels_in(corpus.kind, row)}
    if only_tested:
        notes = [*notes, "only tested"]
        splits |= dict.fromkeys(("train", "dev"), take(splits["test"], []))
    else:
        notes += remarks(splits, labels, corpus.kind)
        notes += choose(corpus, config, language, splits, budgets.get(language))
    if data.test_size and data.test_size < (size := len(splits["test"]["label"])):
        at = rng(config.seed, corpus.task, language, "test").sample(range(size), data.test_size)
        splits["test"] = take(splits["test"], sorted(at))
    if corpus.task in OWN and (tested := len(splits["test"]["label"])) < FEW:
        notes.append(f"each of {tested} test examples is {100 / tested:.0f} points; compare nothing on so few")
    return splits, tuple(label for label in labels if label in seen), notes


def remarks(splits: dict[str, Columns], labels: Sequence[str], kind: str = "text") -> list[str]:
    """Say what a user should know about one language: sizes, missing labels, empty and repeated texts."""
    sizes = {split: len(splits[split]["label"]) for split in SPLITS}
    texts = {split: text_keys(splits[split]) for split in SPLITS}
    notes = [f"{sizes['train']:,} training, {sizes['dev']:,} dev and {sizes['test']:,} test examples"]
    present = {label for row in splits["train"]["label"] for label in labels_in(kind, row)}
    absent = [label for label in labels if label not in present]
    if len(present) == 1:
        notes.append(f"one class only: every training example is {present.pop()!r}")
    elif absent:
        notes.append(f"no training example of {', '.join(absent)}")
    empty = {split: sum(not all(row) for row in texts[split]) for split in SPLITS}
    notes += [f"{number:,} {split} texts are empty" for split, number in empty.items() if number]
    for one, other in (("dev", "train"), ("test", "train"), ("test", "dev")):
        seen = set(texts[other])
        if repeated := sum(row in seen for row in texts[one]):
            notes.append(f"{repeated:,} of {sizes[one]:,} {one} texts are in {other} too")
    return notes


def complete(corpus: Corpus, language: str, splits: dict[str, Columns], seed: int) -> list[str]:
    """Split off what is missing of train, dev and test, and say so.

    Where rows of one number translate one another, they go to the same part in every language.
    """
    if not (missing := [split for split in SPLITS if split not in splits]):
        return []
    own = corpus.task in OWN
    source = "train" if "train" in splits and (own or "dev" not in splits) else "dev"
    columns, size = splits[source], len(splits[source]["label"])
    targets = [split for split in SPLITS if split == source or split in missing]
    sizes, why = (size - max(1, round(DEV_SHARE * size)),), f"for there is no {missing[0]} file"
    if len(targets) == 3:
        sizes, why = (round(0.8 * size), round(0.1 * size)), "80/10/10%, for there is no test split"
    if len(targets) == 3 and corpus.kind == "span" and not own:
        why = "80/10/10%, by article over all languages at once"
    elif len(targets) == 3 and not own:
        rule = "8,000/1,000/rest" + " of 10,000; here 80/10/10%" * (size < WELLER_ROWS)
        sizes = sizes if size < WELLER_ROWS else WELLER
        why = f"as Weller et al. (2022) do ({rule}), for English alone has a training file"
    keys: Sequence[Hashable] = text_keys(
        columns, ["text"] if "text_pair" in columns else sorted({*columns} - {"label"})
    )
    numbers = rng(seed, corpus.task, language, "split")
    labels = columns["label"] if corpus.kind == "text" else [""] * size
    if corpus.kind == "span":  # questions about one context stay together, or those about one article
        order = {context: i for i, context in enumerate(dict.fromkeys(columns["text_pair"]))}
        keys = [order[context] // max(1, corpus.parallel) for context in columns["text_pair"]]
        numbers = rng(seed, corpus.task, "split") if corpus.parallel else numbers
    elif corpus.parallel:
        keys, numbers = [row // corpus.parallel for row in range(size)], rng(seed, corpus.task, "split")
    for split, rows in zip(targets, deal(language, keys, labels, sizes, numbers), strict=True):
        splits[split] = take(columns, rows)
    shares = ", ".join(f"{len(splits[split]['label']):,} {split}" for split in targets)
    return [f"the {size:,} rows of the {source} file are split, {why}: {shares}, by seed and label"]


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


def choose(
    corpus: Corpus, config: RunConfig, language: str, splits: dict[str, Columns], label_budget: int | None
) -> list[str]:
    """Keep the training and dev rows that are drawn, in drawn order; say what was left out for another reason.

    A label budget is spent on training rows alone, a share of it for dev; where rows translate one another, the dev
    labels are drawn from the dev split, so that no language trains on what another is tuned on.
    """
    shuffled = rng(config.seed, corpus.task, language, "order").sample(range(n := len(splits["train"]["label"])), n)
    train, dev, n_dev = take(splits["train"], shuffled), splits["dev"], len(splits["dev"]["label"])
    if label_budget is None:
        splits["train"] = take(train, _order(corpus, config, language, train)[: config.data.train_size])
        if (size := config.data.dev_size) and size < n_dev:
            splits["dev"] = take(dev, sorted(rng(config.seed, corpus.task, language, "dev").sample(range(n_dev), size)))
        return []
    known, fresh = {*text_keys(dev), *text_keys(splits["test"])}, {}
    for row, key in enumerate(text_keys(train)):
        if key not in known:
            fresh.setdefault(key, row)
    repeats = n - len(fresh)
    pool, budget, share = take(train, list(fresh.values())), label_budget, config.data.dev_share
    order, for_dev = _order(corpus, config, language, pool, dev), int(budget * share)
    if corpus.parallel:
        budget -= for_dev
        if for_dev > n_dev:
            what = f"{language}: {for_dev} dev labels of the budget are asked for, but the dev split has {n_dev}"
            raise FedPromptError(f"{what}; lower label_budget or dev_share")
    if len(order) < budget:
        what = f"{language}: a label budget of {label_budget} is asked for, but {len(order)} can be drawn"
        balanced = corpus.kind == "text" and _is_excerpt(corpus, language, train["label"])
        why = " with the corpus's own class shares from this class-balanced excerpt" if balanced else ""
        step = "add training rows" if corpus.task in OWN else "name a folder with the whole training file"
        raise FedPromptError(f"{what}{why}; lower label_budget (--label-budget) or leave it out, or {step}")
    order = order[:budget]
    if corpus.parallel:
        at = rng(config.seed, corpus.task, language, "dev").sample(range(n_dev), for_dev)
        splits |= {"train": take(pool, order), "dev": take(dev, at)}
    else:
        if config.data.draw == "balanced":
            rng(config.seed, corpus.task, language, "quarter").shuffle(order)
        parts: dict[str, list[int]] = {"train": [], "dev": []}
        for i, row in enumerate(order):  # by default every fourth is dev
            parts["dev" if int((i + 1) * share) > int(i * share) else "train"].append(row)
        splits |= {split: take(pool, rows) for split, rows in parts.items()}
    return [f"{repeats:,} training texts are in dev or test too, or come twice, and are left out"] if repeats else []


def _order(corpus: Corpus, config: RunConfig, language: str, train: Columns, dev: Columns | None = None) -> list[int]:
    """Return training rows, which are shuffled, in the order in which they are drawn.

    Without a budget, and ``"balanced"``: by class in turn. ``"natural"``: as they come; from a class-balanced excerpt
    (MasakhaNEWS's files of 50 a class) with the class shares of the official dev split, until a class has no more.
    Those splits are stratified: where the whole training file is there, its shares and dev's differ by 0.01 at most.
    """
    labels, places = train["label"], defaultdict(list)
    if corpus.kind != "text":
        return list(range(len(labels)))
    for i, label in enumerate(labels):
        places[label].append(i)
    if dev is None or config.data.draw == "balanced":
        classes = rng(config.seed, corpus.task, language, "classes").sample(sorted(places), len(places))
        return [i for turn in zip_longest(*(places[label] for label in classes)) for i in turn if i is not None]
    if corpus.task == "intents":  # the shipped files are ordered so that seed 0 gives them class by class
        return rng(config.seed, corpus.task, language, "natural").sample(range(len(labels)), len(labels))
    if not _is_excerpt(corpus, language, labels):
        return list(range(len(labels)))
    size, official = corpus.rows[language][0], Counter(dev["label"])
    whole = [x for x, n in sorted(official.items()) for _ in range(round(size * n / official.total()))]
    order, left = [], {label: iter(rows) for label, rows in places.items()}
    for label in rng(config.seed, corpus.task, language, "shares").sample(whole, len(whole)):
        if (row := next(left.get(label, iter(())), None)) is None:
            break
        order.append(row)
    return order


def _is_excerpt(corpus: Corpus, language: str, labels: list[str]) -> bool:
    """Whether training rows are fewer than published, and as many of each class, but for a few repeats."""
    published, found = (corpus.rows.get(language) or (0,))[0], Counter(labels).values()
    return len(labels) < published and 10 * (max(found) - min(found)) < max(found)
