"""Make the voice commands of task ``intents`` from the templates of ``home-assistant-intents``.

``python -m book.tools.make_intents [LANGUAGE ...]`` writes ``LANGUAGE/{train,dev,test}.tsv`` in the package's folder
``data/intents`` (all languages of ``lexicon.toml`` if none is named). It needs hassil and home-assistant-intents.

A template such as ``turn on [the] {area} lights`` stands for many sentences. The corpus is split by
**template**: a test sentence comes from a pattern of words that no training template can make. Slots are
filled from ``lexicon.toml`` (rooms, devices, floors, places) and from the value lists of the package.
The corpus is by the Home Assistant project, under the Apache License 2.0.
"""

import csv
import io
import random
import re
import sys
import tomllib
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from itertools import accumulate, chain, permutations, zip_longest
from pathlib import Path

from hassil.expression import Alternative, Expression, ListReference, Permutation, RuleReference, TextChunk
from hassil.parse_expression import parse_sentence
from home_assistant_intents import get_intents

from fedprompt_helpers.data.corpora import CORPORA, SPLITS
from fedprompt_helpers.errors import FedPromptError, check_choice
from fedprompt_helpers.files import write_text

FOLDER = Path(__file__).resolve().parents[2] / "fedprompt_helpers" / "data" / "intents"
LABELS = CORPORA["intents"].labels
SHARE = {"train": 0.6, "dev": 0.2, "test": 0.2}  # of the templates of a class
BUDGET = {"train": 300, "dev": 120, "test": 150}  # sentences a language
CLASS_CAP = {"train": 40, "dev": 16, "test": 20}  # sentences a class
TEMPLATE_CAP = 30  # templates a class that are expanded at all
PER_TEMPLATE = 3  # sentences wanted of a template before another one is opened
# Everyday values for the number ranges, all inside the ranges of the package.
NUMBERS = {
    "temperature": range(16, 27),
    "brightness": range(10, 101, 5),
    "color_temperature": range(2000, 6501, 500),
    "timer_hours": range(2, 13),
    "timer_minutes": range(2, 60),
    "timer_seconds": range(5, 60, 5),
}
_SLOT = re.compile(r"\{(\w+)\}")
_RESIDUE = re.compile(r"[][{}()<>|/\\]")
_ZERO_WIDTH = re.compile("[\u200b-\u200d\ufeff]")
_LOOSE_JOINER = re.compile(rf"{_ZERO_WIDTH.pattern}+(?=\s|$)")  # at the end of a word it joins nothing


@dataclass(frozen=True)
class Row:
    """One sentence and where it comes from."""

    text: str
    label: str
    split: str
    template: str  # the template as the corpus writes it
    pattern: str  # the words of the sentence before its slots were filled


@dataclass(eq=False)
class _Template:
    label: str
    source: str
    names: list  # word tables for its {name}
    expression: Expression
    slots: frozenset[str]  # the slots it can have
    needs: frozenset[frozenset[str]]  # of each set, one fragment is in every text it makes
    sentences: dict[str, tuple[str, str]] = field(default_factory=dict)  # normalised -> (text, pattern)
    patterns: dict[str, str] = field(default_factory=dict)  # pattern -> its canonical form


@cache
def lexicon() -> dict:
    """Return ``lexicon.toml``: language -> words and how they go with the templates."""
    return tomllib.loads(Path(__file__).with_name("lexicon.toml").read_text("utf-8-sig"))


def languages() -> tuple[str, ...]:
    """Return the languages that the lexicon has words for."""
    return tuple(lexicon())


def normalise(text: str) -> str:
    """Return the form in which two sentences count as the same: NFKC, caseless, single spaces."""
    return " ".join(_ZERO_WIDTH.sub("", unicodedata.normalize("NFKC", text)).casefold().split())


@cache
def _shape(text: str) -> tuple[str, frozenset[str]]:
    """Return a text without spaces and case, and the slots in it."""
    text = "".join(text.split()).casefold()
    return text, frozenset(_SLOT.findall(text))


class _Grammar:
    """The templates of one language: draw patterns from them, fill slots, ask what they can make."""

    def __init__(self, language: str):
        self.corpus = get_intents(language)
        lex = lexicon()[language]
        self.words, self.agree = lex["words"], lex.get("agree", {})
        rules = self.corpus["expansion_rules"] | lex.get("rules", {})
        self.rules = {name: parse_sentence(body) for name, body in rules.items()}
        lists = {name: body["values"] for name, body in self.corpus["lists"].items() if "values" in body}
        self.values = {name: [parse_sentence(v["in"]).expression for v in values] for name, values in lists.items()}
        self.fixes = [(re.compile(find), put) for find, put in lex.get("fix", [])]

    def draw(self, node: Expression, rng: random.Random) -> str:
        """Draw one of the texts that an expression stands for; slots stay as ``{slot}``."""
        if isinstance(node, TextChunk):
            return node.original_text
        if isinstance(node, ListReference):
            return f"{{{node.list_name}}}"
        if isinstance(node, RuleReference):
            return self.draw(self.rules[node.rule_name].expression, rng)
        if isinstance(node, Alternative):
            return self.draw(rng.choice(node.items), rng)
        items = rng.sample(node.items, len(node.items)) if isinstance(node, Permutation) else node.items
        return "".join(self.draw(item, rng) for item in items)

    def ends(self, node: Expression, text: str, starts: set[int]) -> set[int]:
        """Return where in `text` (see `_shape`) an expression can end that begins at one of `starts`."""
        if isinstance(node, TextChunk | ListReference):
            part = f"{{{node.list_name}}}" if isinstance(node, ListReference) else _shape(node.text)[0]
            return {start + len(part) for start in starts if text.startswith(part, start)}
        if isinstance(node, RuleReference):
            return self.ends(self.rules[node.rule_name].expression, text, starts)
        if isinstance(node, Alternative):
            return set().union(*(self.ends(item, text, starts) for item in node.items))
        found: set[int] = set()
        for items in permutations(node.items) if isinstance(node, Permutation) else [node.items]:
            here = starts
            for item in items:
                if not (here := self.ends(item, text, here)):
                    break
            found |= here
        return found

    def makes(self, template: _Template, patterns: Iterable[str]) -> bool:
        """Return whether a template can make one of the patterns (spaces and case aside)."""
        return any(
            slots <= template.slots
            and all(any(fragment in text for fragment in clause) for clause in template.needs)
            and len(text) in self.ends(template.expression, text, {0})
            for text, slots in map(_shape, patterns)
        )

    def related(self, one: _Template, other: _Template) -> bool:
        """Return whether two templates are known to make a pattern in common."""
        shared = set(one.patterns.values()) & set(other.patterns.values())
        return bool(shared) or self.makes(other, one.patterns) or self.makes(one, other.patterns)

    def fixed(self, text: str) -> str:
        """Return a text with single spaces and the repairs of the lexicon applied."""
        text = " ".join(unicodedata.normalize("NFC", text).split())
        for find, put in self.fixes:
            text = find.sub(put, text)
        return " ".join(_LOOSE_JOINER.sub("", text).split())

    def fill(self, text: str, names: list, rng: random.Random) -> str | None:
        """Fill the slots of a pattern, or return None if no word agrees with its context."""
        while slot := _SLOT.search(text):
            name, left, right = slot[1], text[: slot.start()], text[slot.end() :]
            if name == "name" or name in self.words:
                tables = names if name == "name" else [self.words[name]]
                if not (words := _agreeing(tables, f"{left}_{right}", self.agree.get(name))):
                    return None
                value = rng.choice(words)
            elif name in NUMBERS:
                value = str(rng.choice(NUMBERS[name]))
            else:
                value = self.draw(rng.choice(self.values[name]), rng).strip()
            text = left + value + right
        return None if _RESIDUE.search(text) else self.fixed(text)

    def expand(self, template: _Template, wanted: int, rng: random.Random) -> None:
        """Give a template its distinct sentences, at most `wanted` of them."""
        for _ in range(4 * wanted):
            if len(template.sentences) == wanted:
                break
            pattern = " ".join(self.draw(template.expression, rng).split())
            if text := self.fill(pattern, template.names, rng):
                template.sentences.setdefault(normalise(text), (text, pattern))
                template.patterns[pattern] = normalise(self.fixed(pattern))


def _agreeing(tables: list, context: str, agree: dict[str, str] | None) -> list[str]:
    """Return the words that may stand at ``_`` in a context (see the head of ``lexicon.toml``)."""
    context = f" {' '.join(context.casefold().split())} "
    keys = [key for key in agree or {} if f" {key.casefold()} " in context]
    keys = [key for key in keys if not any(key != other and key in other for other in keys)]
    token = next(part for part in context.split() if "_" in part)
    if agree and token != "_" and not any(token in key.casefold().split() for key in keys):
        return []
    words = []
    for table in tables:
        for letter, entries in ({"n": table} if isinstance(table, list) else table).items():
            if all(letter in agree[key] for key in keys) and (keys or letter.islower()):
                words += entries
    return words


def _templates(grammar: _Grammar, label: str, rng: random.Random) -> list[_Template]:
    """Draw templates of one intent, at most `TEMPLATE_CAP`, all of whose slots can be filled."""
    kinds = defaultdict(set)  # template -> the devices that its {name} can be
    for block in grammar.corpus["intents"].get(f"Hass{label}", {"data": []})["data"]:
        for source in block["sentences"]:
            kinds[source].update((block.get("requires_context") or {}).get("domain", ()))
    fillable = {"name", *grammar.words, *NUMBERS, *grammar.values}  # no wildcards
    found: list[_Template] = []
    for source in rng.sample(list(kinds), len(kinds)):
        if len(found) == TEMPLATE_CAP:
            break
        sentence = parse_sentence(source)
        slots = frozenset(sentence.list_names(grammar.rules))
        if slots <= fillable:
            needs = sentence.get_required_clauses(grammar.rules)
            tables = [grammar.words[kind] for kind in sorted(kinds[source] & set(grammar.words))]
            found.append(_Template(label, source, tables, sentence.expression, slots, needs))
    return found


def _group(grammar: _Grammar, templates: list[_Template]) -> list[list[_Template]]:
    """Join templates of one class that can make the same pattern."""
    groups: list[list[_Template]] = []
    for template in templates:
        linked = [group for group in groups if any(grammar.related(template, other) for other in group)]
        groups = [group for group in groups if group not in linked] + [[*chain(*linked), template]]
    return groups


def _assign(groups: list[list[_Template]], rng: random.Random) -> dict[str, list[_Template]]:
    """Deal groups, those with most sentences first: one to train, test and dev each, then by the shares."""
    parts: dict[str, list[_Template]] = {split: [] for split in SPLITS}
    rng.shuffle(groups)
    groups.sort(key=lambda group: sum(len(template.sentences) for template in group), reverse=True)
    total = sum(map(len, groups))
    for number, group in enumerate(groups):
        short = max(SPLITS, key=lambda split: SHARE[split] * total - len(parts[split]))
        parts[("train", "test", "dev")[number] if number < 3 else short] += group
    return parts


def _pick(pools: dict[str, list[list[Row]]], split: str) -> list[Row]:
    """Choose rows of one split; `pools` holds, for each class, the rows of each template."""
    chosen, cap = {}, CLASS_CAP[split]
    for label, pool in pools.items():
        reached = list(accumulate(min(len(rows), PER_TEMPLATE) for rows in pool))
        turns = zip_longest(*pool[: bisect_left(reached, cap) + 1])  # no more templates than fill the cap
        chosen[label] = [row for row in chain(*turns) if row][:cap]
    while sum(len(rows[:cap]) for rows in chosen.values()) > BUDGET[split]:
        cap -= 1
    return [row for rows in chosen.values() for row in rows[:cap]]


@lru_cache(maxsize=128)
def rows(language: str, seed: int = 0) -> tuple[Row, ...]:
    """Return the sentences of one of `languages`, split by template, as `seed` draws them.

    Returns
    -------
    tuple of Row
        By split, then by class. No sentence, template or pattern is in two splits, no sentence has two
        labels, no training template can make a pattern of dev or test, and train has every class.
    """
    grammar = _Grammar(language)
    parts: dict[str, list[_Template]] = {split: [] for split in SPLITS}
    for label in LABELS:
        rng = random.Random(f"intents-{seed}-{language}-{label}")
        found = _templates(grammar, label, rng)
        for template in found:
            grammar.expand(template, max(2 * PER_TEMPLATE, 120 // len(found)), rng)
        groups = _group(grammar, [template for template in found if template.sentences])
        for split, dealt in _assign(groups, rng).items():
            parts[split] += dealt

    labels = defaultdict(set)
    for template in chain(*parts.values()):
        for key in template.sentences:
            labels[key].add(template.label)
    taken = {key for key in labels if len(labels[key]) > 1}  # an ambiguous sentence is left out everywhere
    owner = {form: "train" for template in parts["train"] for form in template.patterns.values()}
    trained = cache(lambda pattern: any(grammar.makes(template, [pattern]) for template in parts["train"]))
    result: list[Row] = []
    for split in SPLITS:
        pools = defaultdict(list)
        for template in parts[split]:
            kept = []
            for key, (text, pattern) in template.sentences.items():
                free = key not in taken and owner.setdefault(template.patterns[pattern], split) == split
                if free and (split == "train" or not trained(pattern)):
                    taken.add(key)
                    kept.append(Row(text, template.label, split, template.source, pattern))
            if kept:
                pools[template.label].append(kept)
        result += _pick(pools, split)
    classes = {row.label for row in result if row.split == "train"}
    return tuple(row for row in result if row.label in classes)


def files(language: str) -> dict[str, str]:
    """Return what is shipped of one language: for each split the text of its file, columns ``text label template``."""
    content = {}
    for split in SPLITS:
        made = [(row.text, row.label, row.template) for row in rows(language) if row.split == split]
        if split == "train":
            # The loader of all corpora shuffles training rows. They are written in the inverse of its order for seed 0,
            # so that a task with seed 0 has them in the order in which they were drawn: by class, then template.
            order = random.Random(f"intents-0-{language}-order").sample(range(len(made)), len(made))
            made = [row for _, row in sorted(zip(order, made, strict=True))]
        stream = io.StringIO(newline="")
        csv.writer(stream, dialect="excel-tab", lineterminator="\n").writerows([("text", "label", "template"), *made])
        content[split] = stream.getvalue()
    return content


def main(chosen: list[str]) -> None:
    """Write the files of some languages, or of all."""
    made_from = f"home-assistant-intents {version('home-assistant-intents')}"
    if not CORPORA["intents"].title.startswith(f"{made_from} ("):
        raise FedPromptError(
            f"{made_from} is installed, but corpora.toml says {CORPORA['intents'].title.split(' (')[0]}; install that "
            "version, or write the new one there and make all languages"
        )
    for language in chosen or languages():
        content = files(check_choice("language of lexicon.toml", language, languages()))
        (FOLDER / language).mkdir(parents=True, exist_ok=True)
        for split, text in content.items():
            write_text(FOLDER / language / f"{split}.tsv", text)
        sizes = tuple(text.count("\n") - 1 for text in content.values())
        new = "" if CORPORA["intents"].rows.get(language) == sizes else "  # new: write it into corpora.toml"
        print(f"{language} = {list(sizes)}{new}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FedPromptError as error:
        sys.exit(str(error))
