"""The sentences of the intents task: real corpus, every language, two seeds."""

import re
from collections import defaultdict
from itertools import chain, islice

import pytest
from hassil.parse_expression import parse_sentence
from hassil.sample import sample_expression
from home_assistant_intents import get_intents

from fedprompt_helpers import intents

CASES = [(language, seed) for language in intents.languages() for seed in (0, 1)]


OF = {
    "sentence": lambda row, grammar: intents.normalise(row.text),
    "template": lambda row, grammar: row.template,
    "pattern": lambda row, grammar: intents.normalise(grammar.fixed(row.pattern)),
}


def squeeze(text):
    return "".join(text.split()).casefold()


def entries(table):
    """All words of a lexicon table, whatever their class."""
    return set(table) if isinstance(table, list) else set(chain(*table.values()))


@pytest.mark.parametrize(("language", "seed"), CASES)
@pytest.mark.parametrize("what", OF)
def test_nothing_is_in_two_splits(language, seed, what):
    splits, grammar = defaultdict(set), intents._Grammar(language)
    for row in intents.rows(language, seed):
        splits[OF[what](row, grammar)].add(row.split)
    assert {key: found for key, found in splits.items() if len(found) > 1} == {}


@pytest.mark.parametrize(("language", "seed"), CASES)
def test_a_sentence_appears_once_and_has_one_label(language, seed):
    keys = [intents.normalise(row.text) for row in intents.rows(language, seed)]
    assert len(keys) == len(set(keys))


def test_a_sentence_of_two_intents_is_left_out():
    """Bengali "what is the temperature" is a question about the weather and about the room."""
    intent_data = get_intents("bn")["intents"]
    for label in ("GetWeather", "ClimateGetTemperature"):
        assert any("তাপমাত্রা কত" in text for block in intent_data[f"Hass{label}"]["data"] for text in block["sentences"])
    for seed in range(3):
        assert "তাপমাত্রা কত" not in {row.text for row in intents.rows("bn", seed)}


@pytest.mark.parametrize("language", ["sw", "ga", "af", "bn", "lb"])
def test_training_templates_expanded_in_full_do_not_reach_dev_or_test(language):
    """The check is by hassil's own full expansion, not by the matcher that made the split."""
    rows = intents.rows(language)
    bodies = get_intents(language)["expansion_rules"] | intents.lexicon()[language].get("rules", {})
    rules = {name: parse_sentence(body) for name, body in bodies.items()}
    held_out = {squeeze(row.pattern): row.pattern for row in rows if row.split != "train"}
    expanded = 0
    for template in sorted({row.template for row in rows if row.split == "train"}):
        expression = parse_sentence(template).expression
        for pattern in islice(sample_expression(expression, expansion_rules=rules, expand_lists=False), 50_000):
            expanded += 1
            assert squeeze(pattern) not in held_out, (template, pattern)
    assert expanded > len(held_out)


@pytest.mark.parametrize(("language", "seed"), CASES)
def test_every_class_of_dev_and_test_is_in_train(language, seed):
    labels = defaultdict(set)
    for row in intents.rows(language, seed):
        labels[row.split].add(row.label)
    assert labels["dev"] <= labels["train"] and labels["test"] <= labels["train"] <= set(intents.LABELS)


@pytest.mark.parametrize("language", intents.languages())
def test_sentences_are_plain_text(language):
    for row in intents.rows(language):
        assert not re.search(r"[][{}()<>|/\\_]|\s\s|^\s|\s$|%\||[\u200b-\u200d\ufeff](\s|$)", row.text), row
        assert re.search(r"\w", row.text), row


@pytest.mark.parametrize("language", intents.languages())
def test_no_class_crowds_out_the_others(language):
    rows = [row for row in intents.rows(language) if row.split == "train"]
    sizes = [sum(row.label == label for row in rows) for label in {row.label for row in rows}]
    assert max(sizes) <= intents.CLASS_CAP["train"]
    assert len(rows) <= intents.BUDGET["train"]


def test_templates_give_several_sentences_where_they_can():
    counts = defaultdict(int)
    for row in intents.rows("en"):
        if row.split == "train" and row.label == "StartTimer":
            counts[row.template] += 1
    assert min(counts.values()) >= 2 and len(counts) >= 5


@pytest.mark.parametrize(
    ("language", "wrong"),
    [
        ("de", r"\b(im|vom) (Küche|Garage|Werkstatt)|\b(den|das) \w*(lampe|heizung)\b|\bdie (Radio|Fernseher)"),
        ("fr", r"\b(le|du) (cuisine|chambre|entrée)|\bla (salon|bureau)|\bde le\b|\bl'[bcdfgjklmnpqrstvz]"),
        ("es", r"\bel (cocina|terraza|radio)|\bla (salón|baño)|\b[da]e? el (salón|baño)|\bdel la\b"),
        ("nl", r"\bhet (keuken|radio|garage)\b|\bde (kantoor|gordijn)\b"),
        ("eu", r"sukaldeako|sukalden\b|garajeako|bulegoako"),
        ("is", r"\b[íá] (eldhúsið|stofuna)|(kveiktu|slökktu) á (sjónvarpið|lampann|viftuna)"),
        ("cy", r"\by (ystafell|ardd)\b|\byr (gegin|lolfa|swyddfa)\b|\by cegin\b"),
        ("ga", r"\bsa (cistin|garáiste|oifig)\b|\ban cistin\b|\bsa an\b"),
        ("sw", r"\b(taa|feni) za\b|\bzote ya\b"),
    ],
)
def test_slot_words_agree_with_what_stands_before_them(language, wrong):
    assert [row.text for row in intents.rows(language) if re.search(wrong, row.text)] == []


@pytest.mark.parametrize("language", intents.languages())
def test_a_device_fits_its_command(language):
    """A name in a template for covers is a cover, and so on for media players and vacuums."""
    words = intents.lexicon()[language]["words"]
    for label, kind in [("MediaPause", "media_player"), ("MediaNext", "media_player"), ("VacuumStart", "vacuum")]:
        named = [row for row in intents.rows(language) if row.label == label and "{name}" in row.pattern]
        for row in named:
            assert any(word in row.text for word in entries(words[kind])), row


@pytest.mark.parametrize("language", intents.languages())
def test_the_lexicon_only_narrows_the_corpus(language):
    """What an overridden rule makes, the rule of the corpus makes too; listed values are the corpus's."""
    corpus, lexicon = get_intents(language), intents.lexicon()[language]
    own = {name: parse_sentence(body) for name, body in (corpus["expansion_rules"] | lexicon.get("rules", {})).items()}
    theirs = {name: parse_sentence(body) for name, body in corpus["expansion_rules"].items()}
    for name in lexicon.get("rules", {}):
        missing = set(map(squeeze, sample_expression(own[name].expression, expansion_rules=own, expand_lists=False)))
        for text in sample_expression(theirs[name].expression, expansion_rules=theirs, expand_lists=False):
            missing.discard(squeeze(text))
            if not missing:
                break
        assert missing == set(), name
    if table := lexicon["words"].get("cover_classes"):
        values = [parse_sentence(value["in"]).expression for value in corpus["lists"]["cover_classes"]["values"]]
        made = {squeeze(text) for value in values for text in sample_expression(value, expansion_rules=theirs)}
        assert set(map(squeeze, entries(table))) <= made


@pytest.mark.parametrize("language", intents.languages())
def test_lexicon_words_are_written_once_and_clean(language):
    words = intents.lexicon()[language]["words"]
    assert len(set(words) & {"area", "light", "switch", "fan", "media_player", "climate", "cover"}) == 7
    for table in words.values():
        for entries in [table] if isinstance(table, list) else table.values():
            assert len(entries) == len(set(entries))
            assert all(word == " ".join(word.split()) and "_" not in word for word in entries)
