"""The voice commands: the files that are shipped, read without their maker, and the maker, which needs the corpus."""

import csv
import re
from collections import defaultdict
from itertools import chain, islice
from pathlib import Path

import pytest

from fedprompt_helpers.data.corpora import CORPORA, SPLITS
from fedprompt_helpers.data.loading import find_folder

ROOT = Path(__file__).resolve().parent.parent
FOLDER = find_folder(CORPORA["intents"], None)
LANGUAGES, LABELS = tuple(CORPORA["intents"].rows), CORPORA["intents"].labels


def shipped(language):
    """Rows of all three files, each with its split."""
    for split in SPLITS:
        with (FOLDER / language / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, dialect="excel-tab"):
                yield row | {"split": split}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("column", ["text", "template"])
def test_no_sentence_and_no_template_is_in_two_splits(language, column):
    splits = defaultdict(set)
    for row in shipped(language):
        splits[row[column].casefold()].add(row["split"])
    assert {key for key, found in splits.items() if len(found) > 1} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_languages_page_names_each_language_and_counts_its_templates(language):
    get_intents = pytest.importorskip("home_assistant_intents").get_intents
    page = (ROOT / "book/languages.md").read_text(encoding="utf-8")
    (name,) = re.findall(rf"^\* - (\w+)[\w, ]* \(`{language}`\)$", page, re.M)
    (told,) = re.findall(rf"^\* - {name}\n  - (\d+)\n  - (\d+)\n  - (\d+)$", page, re.M)
    kinds = get_intents(language)["intents"].items()
    counts = {kind: sum(len(block["sentences"]) for block in found["data"]) for kind, found in kinds}
    ours = [counts[f"Hass{label}"] for label in LABELS if f"Hass{label}" in counts]
    assert [int(number) for number in told] == [sum(counts.values()), sum(ours), len(ours)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_are_plain_with_a_sentence_once_and_under_one_label(language):
    rows = list(shipped(language))
    assert len({row["text"].casefold() for row in rows}) == len(rows)
    assert {row["label"] for row in rows} <= set(LABELS)
    assert all(list(row) == ["text", "label", "template", "split"] and row["template"] for row in rows)
    for split in SPLITS:
        content = (FOLDER / language / f"{split}.tsv").read_bytes()
        assert content.startswith(b"text\tlabel\ttemplate\n") and content.endswith(b"\n")
        assert b'"' not in content and b"\r" not in content


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_class_of_dev_and_test_is_in_train(language):
    labels = defaultdict(set)
    for row in shipped(language):
        labels[row["split"]].add(row["label"])
    assert labels["dev"] <= labels["train"] and labels["test"] <= labels["train"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_plain_text(language):
    for row in shipped(language):
        wrong = r"[][{}()<>|/\\_]|\s\s|^\s|\s$|%\||[\u200b-\u200d\ufeff](\s|$)"
        assert not re.search(wrong, row["text"]), row
        assert re.search(r"\w", row["text"]), row


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_class_crowds_out_the_others(language):
    labels = [row["label"] for row in shipped(language) if row["split"] == "train"]
    assert max(labels.count(label) for label in set(labels)) <= 40 and len(labels) <= 300


def test_every_folder_is_a_language_of_the_corpus():
    assert {path.name for path in FOLDER.iterdir()} == set(LANGUAGES)


def test_templates_give_several_sentences_where_they_can():
    counts = defaultdict(int)
    for row in shipped("en"):
        if row["split"] == "train" and row["label"] == "StartTimer":
            counts[row["template"]] += 1
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
    assert [row["text"] for row in shipped(language) if re.search(wrong, row["text"])] == []


# The maker: real corpus, every language, two seeds.


@pytest.fixture(scope="module")
def intents():
    pytest.importorskip("hassil", reason="makes the sentences, which are shipped: pip install .[book]")
    from book.tools import make_intents

    return make_intents


@pytest.mark.slow
@pytest.mark.parametrize("language", ["cy", "sw"])
def test_the_maker_writes_what_is_shipped(intents, language):
    for split, content in intents.files(language).items():
        assert (FOLDER / language / f"{split}.tsv").read_bytes() == content.encode()


@pytest.mark.slow
def test_the_maker_writes_beside_the_package_and_names_a_new_size(intents, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(intents, "FOLDER", tmp_path)
    intents.main(["sw"])
    assert capsys.readouterr().out == "sw = [56, 22, 40]\n"
    assert sorted(path.name for path in (tmp_path / "sw").iterdir()) == ["dev.tsv", "test.tsv", "train.tsv"]
    with pytest.raises(intents.FedPromptError, match=r"unknown language of lexicon.toml 'xx'"):
        intents.main(["xx"])
    monkeypatch.setattr(intents, "version", lambda package: "2030.1.1")
    with pytest.raises(intents.FedPromptError, match=r"2030.1.1 is installed, but corpora.toml says .* 2026.10.27"):
        intents.main(["sw"])


CASES = [(language, seed) for language in LANGUAGES for seed in (0, 1)]


def squeeze(text):
    return "".join(text.split()).casefold()


def entries(table):
    """All words of a lexicon table, whatever their class."""
    return set(table) if isinstance(table, list) else set(chain(*table.values()))


@pytest.mark.slow
@pytest.mark.parametrize(("language", "seed"), CASES)
def test_nothing_is_in_two_splits(intents, language, seed):
    splits, grammar = defaultdict(set), intents._Grammar(language)
    for row in intents.rows(language, seed):
        pattern = intents.normalise(grammar.fixed(row.pattern))
        for key in (("sentence", intents.normalise(row.text)), ("template", row.template), ("pattern", pattern)):
            splits[key].add(row.split)
    assert {key: found for key, found in splits.items() if len(found) > 1} == {}


@pytest.mark.slow
@pytest.mark.parametrize(("language", "seed"), CASES)
def test_a_sentence_appears_once_and_has_one_label(intents, language, seed):
    keys = [intents.normalise(row.text) for row in intents.rows(language, seed)]
    assert len(keys) == len(set(keys))


@pytest.mark.slow
def test_a_sentence_of_two_intents_is_left_out(intents):
    """Bengali "what is the temperature" is a question about the weather and about the room."""
    intent_data = intents.get_intents("bn")["intents"]
    for label in ("GetWeather", "ClimateGetTemperature"):
        assert any("তাপমাত্রা কত" in text for block in intent_data[f"Hass{label}"]["data"] for text in block["sentences"])
    for seed in range(3):
        assert "তাপমাত্রা কত" not in {row.text for row in intents.rows("bn", seed)}


@pytest.mark.slow
@pytest.mark.parametrize("language", ["sw", "ga", "af", "bn", "lb"])
def test_training_templates_expanded_in_full_do_not_reach_dev_or_test(intents, language):
    """The check is by hassil's own full expansion, not by the matcher that made the split."""
    from hassil.sample import sample_expression

    rows = intents.rows(language)
    bodies = intents.get_intents(language)["expansion_rules"] | intents.lexicon()[language].get("rules", {})
    rules = {name: intents.parse_sentence(body) for name, body in bodies.items()}
    held_out = {squeeze(row.pattern): row.pattern for row in rows if row.split != "train"}
    expanded = 0
    for template in sorted({row.template for row in rows if row.split == "train"}):
        expression = intents.parse_sentence(template).expression
        for pattern in islice(sample_expression(expression, expansion_rules=rules, expand_lists=False), 50_000):
            expanded += 1
            assert squeeze(pattern) not in held_out, (template, pattern)
    assert expanded > len(held_out)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_device_fits_its_command(intents, language):
    """A name in a template for covers is a cover, and so on for media players and vacuums."""
    words = intents.lexicon()[language]["words"]
    for label, kind in [("MediaPause", "media_player"), ("MediaNext", "media_player"), ("VacuumStart", "vacuum")]:
        named = [row for row in intents.rows(language) if row.label == label and "{name}" in row.pattern]
        for row in named:
            assert any(word in row.text for word in entries(words[kind])), row


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_lexicon_only_narrows_the_corpus(intents, language):
    """What an overridden rule makes, the rule of the corpus makes too; listed values are the corpus's."""
    from hassil.sample import sample_expression

    corpus, lexicon = intents.get_intents(language), intents.lexicon()[language]
    own = {
        name: intents.parse_sentence(body)
        for name, body in (corpus["expansion_rules"] | lexicon.get("rules", {})).items()
    }
    theirs = {name: intents.parse_sentence(body) for name, body in corpus["expansion_rules"].items()}
    for name in lexicon.get("rules", {}):
        missing = set(map(squeeze, sample_expression(own[name].expression, expansion_rules=own, expand_lists=False)))
        for text in sample_expression(theirs[name].expression, expansion_rules=theirs, expand_lists=False):
            missing.discard(squeeze(text))
            if not missing:
                break
        assert missing == set(), name
    if table := lexicon["words"].get("cover_classes"):
        values = [
            intents.parse_sentence(value["in"]).expression for value in corpus["lists"]["cover_classes"]["values"]
        ]
        made = {squeeze(text) for value in values for text in sample_expression(value, expansion_rules=theirs)}
        assert set(map(squeeze, entries(table))) <= made


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_lexicon_words_are_written_once_and_clean(intents, language):
    words = intents.lexicon()[language]["words"]
    assert len(set(words) & {"area", "light", "switch", "fan", "media_player", "climate", "cover"}) == 7
    for table in words.values():
        for entries in [table] if isinstance(table, list) else table.values():
            assert len(entries) == len(set(entries))
            assert all(word == " ".join(word.split()) and "_" not in word for word in entries)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_train_has_every_class_that_the_corpus_has(intents, language):
    corpus = {label for label in LABELS if f"Hass{label}" in intents.get_intents(language)["intents"]}
    assert {row["label"] for row in shipped(language) if row["split"] == "train"} == corpus
