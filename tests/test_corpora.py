"""Corpora from local files in their official formats, from a data set in the hub's form, and from one's own files."""

import csv
import io
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from fedprompt_helpers.data import tables
from fedprompt_helpers.data.corpora import CORPORA, SPLITS
from fedprompt_helpers.data.draws import deal
from fedprompt_helpers.data.tasks import available_languages, load_task
from fedprompt_helpers.errors import FedPromptError

from .test_tasks import fingerprint

ROOT = Path(__file__).resolve().parents[1]
REAL = os.environ.get("FEDPROMPT_DATA")
TOPICS = CORPORA["masakhanews"].labels


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    """Let no test but the last ones see the reader's own mirror."""
    monkeypatch.delenv("FEDPROMPT_DATA", raising=False)


def write(path, rows, quoted=True):
    """Write rows as pandas does (quoted where needed), or plain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.StringIO(newline="")
    if quoted:
        csv.writer(stream, dialect="excel-tab", lineterminator="\n").writerows(rows)
    else:
        stream.writelines("\t".join(row) + "\n" for row in rows)
    path.write_bytes(stream.getvalue().encode())


def news(folder, language, sizes=(21, 7, 14), topics=TOPICS):
    for split, size in zip(SPLITS, sizes, strict=True):
        rows = [
            [topics[i % len(topics)], f"{language} {split} headline {i}", f"Article {i} of {split}, in {language}."]
            for i in range(size)
        ]
        write(folder / language / f"{split}.tsv", [["category", "headline", "text"], *rows])


def own(folder, language, train=30, dev=6, test=8, labels=("bad", "good")):
    """Write a language of task own: so many rows of a split, or the rows given."""
    for split, rows in {"train": train, "dev": dev, "test": test}.items():
        if isinstance(rows, int):
            made = [[f"{language} {split} {i}", labels[i % len(labels)]] for i in range(rows)]
            rows = [["text", "label"], *made]
        if rows:
            write(folder / language / f"{split}.tsv", rows)


def inference(folder, language, splits, premises=20):
    header = ["genre", "label", f"sentence1_{language}", f"sentence2_{language}"]
    for split in splits:
        rows = [
            ["letters", label, f'{language} {split}: "premise {i}', f"hypothesis {i} is {label}"]
            for i in range(premises)
            for label in ("neutral", "contradiction", "entailment")
        ]
        write(folder / language / f"{split}.tsv", [header, *rows], quoted=False)


def labels_of(task, language, split):
    return [task.labels[number] for number in task.data[language][split]["label"]]


def test_masakhanews_keeps_line_breaks_tabs_quotes_and_long_articles(tmp_path):
    article = 'First line.\nSecond\tline, "quoted".\r\n\nLast line.' + " word" * 40_000  # beyond csv's usual limit
    news(tmp_path, "hau")
    write(
        tmp_path / "hau" / "test.tsv",
        [["category", "headline", "text", "url"], ["health", 'A "new" clinic', article, "/1"], ["sports", "Q", "", ""]],
    )
    task = load_task("masakhanews", ["hau"], data_dir=tmp_path, text_field="text")
    assert task.labels == TOPICS
    assert task.data["hau"]["test"]["text"][0] == article
    assert labels_of(task, "hau", "test") == ["health", "sports"]
    assert "hau: 1 test texts are empty" in task.notes
    assert load_task("masakhanews", ["hau"], data_dir=tmp_path).data["hau"]["test"]["text"][0] == 'A "new" clinic'
    both = load_task("masakhanews", ["hau"], data_dir=tmp_path, text_field="both").data["hau"]["test"]["text"]
    assert list(both) == [f'A "new" clinic {article}', "Q"]


def test_a_mirror_offers_the_languages_that_it_has(tmp_path, monkeypatch):
    for language in ("yor", "hau"):
        news(tmp_path / "masakhanews", language)
    (tmp_path / "masakhanews" / "notes").mkdir()
    inference(tmp_path / "xnli", "my", ["dev", "test"])
    assert available_languages("masakhanews", tmp_path) == ("hau", "yor")
    assert available_languages("xnli", str(tmp_path)) == ("my",)
    with pytest.raises(FedPromptError, match=r"unknown language 'swa'; .*available: hau, yor"):
        load_task("masakhanews", ["swa"], data_dir=tmp_path)
    whole = fingerprint(load_task("masakhanews", data_dir=tmp_path))
    assert fingerprint(load_task("masakhanews", data_dir=tmp_path / "masakhanews")) == whole
    monkeypatch.setenv("FEDPROMPT_DATA", str(tmp_path))
    assert fingerprint(load_task("masakhanews")) == whole
    assert len(available_languages("sib200")) == 205  # not in the folder: the hub's
    assert available_languages("intents")[0] == "en"


def test_the_hub_offers_the_published_languages():
    assert available_languages("xglue-nc") == ("en", "es", "fr", "de", "ru")
    assert len(available_languages("xnli")) == 15
    assert len(available_languages("masakhanews")) == 16
    assert {len(CORPORA[name].labels) for name in ("masakhanews", "sib200")} == {7}
    assert len(CORPORA["xglue-nc"].labels) == 10


def test_xnli_dev_is_split_by_premise_where_there_is_no_training_file(tmp_path):
    inference(tmp_path, "sw", ["dev", "test"])
    task = load_task("xnli", ["sw"], data_dir=tmp_path)
    data = task.data["sw"]
    assert task.labels == ("entailment", "neutral", "contradiction")
    assert {split: len(data[split]) for split in SPLITS} == {"train": 48, "dev": 12, "test": 60}
    assert not set(data["train"]["text"]) & set(data["dev"]["text"])
    assert set(Counter(data["dev"]["label"]).values()) == {4}
    assert 'sw test: "premise 0' in data["test"]["text"]  # a quote is a letter here
    first = data["train"][0]
    assert first["text_pair"].endswith(f"is {task.labels[first['label']]}")
    assert first["text"].split()[-1] == first["text_pair"].split()[1]
    assert (
        "sw: the 60 rows of the dev file are split, for there is no train file: 48 train, 12 dev, by seed and label"
    ) in task.notes
    assert "sw: the whole corpus has 392,702 train, 2,490 dev, 5,010 test rows" in task.notes


def test_xnli_takes_a_training_file_if_there_is_one(tmp_path):
    inference(tmp_path, "sw", SPLITS)
    task = load_task("xnli", ["sw"], data_dir=tmp_path)
    assert [len(task.data["sw"][split]) for split in SPLITS] == [60, 60, 60]
    assert not any("split" in note for note in task.notes)


@pytest.mark.parametrize(
    ("rows", "sizes", "rule"),
    [
        (10_000, [8_000, 1_000, 1_000], "8,000/1,000/rest"),
        (200, [160, 20, 20], "8,000/1,000/rest of 10,000; here 80/10/10%"),
    ],
)
@pytest.mark.slow
def test_xglue_dev_files_are_split_as_the_predecessor_did(tmp_path, rows, sizes, rule):
    labels = CORPORA["xglue-nc"].labels
    titled = [[f'"Title {i}', "" if i == 7 else f"Body {i}.", labels[i % 10]] for i in range(rows)]
    write(tmp_path / "xglue.nc.fr.dev", titled, quoted=False)
    write(tmp_path / "xglue.nc.fr.test", [["never", "read"]], quoted=False)
    task = load_task("xglue-nc", data_dir=tmp_path)
    data = task.data["fr"]
    assert task.languages == ("fr",)
    assert [len(data[split]) for split in SPLITS] == sizes
    for split, size in zip(SPLITS, sizes, strict=True):
        assert set(Counter(data[split]["label"]).values()) == {size // 10}
    texts = [text for split in SPLITS for text in data[split]["text"]]
    assert sorted(texts) == sorted(f"{title} {body}".strip() for title, body, _ in titled)
    said = f"fr: the {rows:,} rows of the dev file are split, as Weller et al. (2022) do ({rule})"
    assert any(note.startswith(said) for note in task.notes)
    for field, row in (("title", 0), ("body", 1)):
        chosen = load_task("xglue-nc", data_dir=tmp_path, text_field=field).data["fr"]
        assert sorted(text for split in SPLITS for text in chosen[split]["text"]) == sorted(r[row] for r in titled)
        assert list(chosen["test"]["label"]) == list(data["test"]["label"])


def test_own_files_any_order_of_columns_and_any_language_name(tmp_path):
    language = "Kölsch (nach Gehör)"
    rows = [["id", "label", "text_pair", "text"], ["1", "yes", "b", "a"], ["2", "no", "d", "c"]]
    own(tmp_path, language, train=rows, dev=rows, test=rows)
    task = load_task("own", data_dir=tmp_path)
    assert task.languages == (language,)
    assert task.labels == ("no", "yes")
    test = task.data[language]["test"]
    assert (list(test["text"]), list(test["text_pair"]), labels_of(task, language, "test")) == (
        ["a", "c"], ["b", "d"], ["yes", "no"],
    )  # fmt: skip


def test_own_labels_are_those_of_all_training_files_together(tmp_path):
    own(tmp_path, "one", labels=("a", "c"))
    own(tmp_path, "two", labels=("b", "c"))
    task = load_task("own", data_dir=tmp_path)
    assert task.labels == ("a", "b", "c")
    assert "one: no training example of b" in task.notes
    assert "two: no training example of a" in task.notes
    assert labels_of(task, "two", "test")[:3] == ["b", "c", "b"]


def test_a_missing_dev_file_is_split_off_and_said(tmp_path):
    rows = [["text", "label"], *([f"text {i}", "rare" if i % 10 == 0 else "often"] for i in range(100))]
    own(tmp_path, "xx", train=[*rows, *(["Text  7", "often"] for _ in range(5))], dev=None, labels=("rare", "often"))
    task = load_task("own", data_dir=tmp_path)
    dev, train = task.data["xx"]["dev"], task.data["xx"]["train"]
    assert (len(train), len(dev)) == (84, 21)
    assert Counter(labels_of(task, "xx", "dev"))["rare"] == 2
    assert not {text.casefold() for text in dev["text"]} & {text.casefold() for text in train["text"]}
    assert (
        "xx: the 105 rows of the train file are split, for there is no dev file: 84 train, 21 dev, by seed and label"
    ) in task.notes


@pytest.mark.slow
def test_another_process_splits_off_the_same(tmp_path):
    for language in ("aa", "bb"):
        own(tmp_path, language, dev=None)
    script = (
        "import json, sys; from tests.test_tasks import fingerprint, load_task\n"
        "print(json.dumps(fingerprint(load_task('own', ['bb', 'aa'], seed=3, data_dir=sys.argv[1]))))"
    )
    env = os.environ | {"PYTHONHASHSEED": "4711"}
    run = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    here = load_task("own", data_dir=tmp_path, seed=3)
    assert json.loads(done.stdout) == fingerprint(here)
    assert fingerprint(load_task("own", ["aa"], seed=3, data_dir=tmp_path))["aa"] == fingerprint(here)["aa"]
    other = load_task("own", data_dir=tmp_path, seed=4)
    assert set(other.data["aa"]["dev"]["text"]) != set(here.data["aa"]["dev"]["text"])


def test_official_splits_do_not_change_with_the_seed_or_the_train_size(tmp_path):
    news(tmp_path, "hau", sizes=(70, 7, 14))
    full = load_task("masakhanews", data_dir=tmp_path).data["hau"]
    other = load_task("masakhanews", data_dir=tmp_path, seed=1).data["hau"]
    assert sorted(full["train"]["text"]) == sorted(other["train"]["text"])
    assert set(full["train"]["text"][:14]) != set(other["train"]["text"][:14])
    for size in (1, 7, 15, 70, 1_000):
        small = load_task("masakhanews", data_dir=tmp_path, train_size=size).data["hau"]
        assert list(small["train"]["text"]) == list(full["train"]["text"][:size])
        assert [small[split].to_dict() for split in ("dev", "test")] == [
            full[split].to_dict() for split in ("dev", "test")
        ]
    assert set(Counter(full["train"]["label"][:14]).values()) == {2}


def test_texts_in_two_splits_are_counted(tmp_path):
    header = ["text", "label"]
    own(
        tmp_path,
        "xx",
        train=[header, ["Same", "a"], ["one", "b"], ["caf\u00e9", "a"]],
        dev=[header, [" same ", "a"], ["two", "b"]],
        test=[header, ["SAME", "a"], ["cafe\u0301", "a"], ["two", "b"], ["three", "b"]],
    )
    notes = load_task("own", data_dir=tmp_path).notes
    assert "xx: 1 of 2 dev texts are in train too" in notes
    assert "xx: 2 of 4 test texts are in train too" in notes
    assert "xx: 2 of 4 test texts are in dev too" in notes


def test_pairs_repeat_only_if_both_sentences_do(tmp_path):
    header = ["text", "text_pair", "label"]
    own(
        tmp_path,
        "xx",
        train=[header, ["p", "q", "a"], ["r", "s", "b"]],
        dev=[header, ["p", "other", "a"]],
        test=[header, ["p", "q", "a"]],
    )
    notes = load_task("own", data_dir=tmp_path).notes
    assert [note for note in notes if "too" in note] == ["xx: 1 of 1 test texts are in train too"]


def test_a_language_with_one_class_is_said(tmp_path):
    own(tmp_path, "one", labels=("good",))
    own(tmp_path, "two")
    notes = load_task("own", data_dir=tmp_path).notes
    assert "one: one class only: every training example is 'good'" in notes
    assert not any("two: one class" in note for note in notes)


HEAD = "text\tlabel\n"


@pytest.mark.parametrize(
    ("split", "content", "message"),
    [
        ("train", "words\tlabel\na\tgood\n", "row 1: no column 'text'; .*found 'words', 'label'"),
        ("train", "text\tlabel\ttext\na\tgood\tb\n", "row 1: two columns 'text'"),
        ("train", "", "the file is empty; expected names of columns"),
        ("train", HEAD, "the table has no rows"),
        ("dev", HEAD, "the table has no rows"),
        (
            "test",
            HEAD + "a\tgood\nb c\n",
            "row 3: found 1 fields separated by tabs, the last being 'b c'; expected 2",
        ),
        ("test", HEAD + "a\tb\tgood\n", "row 2: found 3 fields separated by tabs, the last being 'good'; expected 2"),
        ("test", HEAD + "a\tgood\n \tbad\n", "row 3: the text is empty"),
        ("dev", HEAD + "a\t\n", "row 2: the label is empty"),
        ("test", HEAD + '"a\nb"\tgood\n"c"\tgoood\n', r"row 3 \(line 4\): unknown label 'goood'; .*bad, good"),
        ("dev", HEAD + "a\tgood\nb\tgreat\n", "row 3: unknown label 'great'; expected one of bad, good"),
        (
            "train",
            HEAD + 'a\tgood\n"He said\nand" no\tbad\n',
            "row 3: a field begins with a quotation mark .*; write the quotes inside it twice",
        ),
        (
            "train",
            HEAD + "a\tgood\nb\0c\tbad\n",
            r"row 3: the text 'b\\x00c' has '\\x00', which is no character; .* UTF-8",
        ),
        ("train", HEAD + "a\tgood\nb\t\n", "row 3: the label is empty; found ''; expected a label"),
        (
            "train",
            HEAD.encode() + b"a\tgood\ncaf\xe9\tbad\n",
            "line 3: byte 0xe9 after 'caf' is not UTF-8",
        ),
        (
            "train",
            HEAD.encode() + b'"a\nb"\tgood\nc\tbad\xe9\n',
            "line 4: byte 0xe9 after 'bad' is not UTF-8",
        ),
        ("train", "text\tlabel\ra\tgood\rb c\tworse bad\tx\r", "row 3: found 3 fields"),
    ],
)
def test_faults_in_files_name_language_file_row_and_column(tmp_path, split, content, message):
    own(tmp_path, "aa")
    own(tmp_path, "xx")
    (tmp_path / "xx" / f"{split}.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FedPromptError, match=f"^xx, {split}.tsv.*{message}") as caught:
        load_task("own", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert load_task("own", ["aa"], data_dir=tmp_path).languages == ("aa",)  # the other language is sound


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path):
    own(tmp_path, "xx")
    (tmp_path / "xx" / "test.tsv").write_bytes("\ufefftext\tlabel\r\nä\tgood\r\n\r\nb\tbad\r\n".encode())
    assert list(load_task("own", data_dir=tmp_path).data["xx"]["test"]["text"]) == ["ä", "b"]


MARK = "\ufeff"


@pytest.mark.parametrize("split", SPLITS)
def test_a_byte_order_mark_is_read_away_in_every_file(tmp_path, split):
    for folder, marked in (("plain", ""), ("marked", MARK)):
        own(tmp_path / folder / "own", "xx")
        inference(tmp_path / folder / "xnli", "sw", SPLITS)
        news(tmp_path / folder / "masakhanews", "hau")
        for path in (tmp_path / folder).glob(f"*/*/{split}.tsv"):
            path.write_text(marked + path.read_text("utf-8"), "utf-8")
    plain, marked = (tmp_path / folder for folder in ("plain", "marked"))
    for name in ("own", "xnli", "masakhanews"):
        assert fingerprint(load_task(name, data_dir=plain)) == fingerprint(load_task(name, data_dir=marked))


def test_a_byte_order_mark_is_no_part_of_the_first_cell_without_a_header(tmp_path):
    rows = [[f"Titre {i}", "Texte", "autos"] for i in range(20)]
    write(tmp_path / "xglue.nc.fr.dev", [[MARK + "Titre 0", "Texte", "autos"], *rows[1:]], quoted=False)
    data = load_task("xglue-nc", data_dir=tmp_path).data["fr"]
    assert "Titre 0 Texte" in [text for split in SPLITS for text in data[split]["text"]]


def test_a_fault_after_a_byte_order_mark_is_found_where_it_is(tmp_path):
    own(tmp_path, "xx")
    (tmp_path / "xx" / "train.tsv").write_bytes((MARK + HEAD).encode() + b"a\tgood\ncaf\xe9\tbad\n")
    with pytest.raises(FedPromptError, match=r"line 3: byte 0xe9 after 'caf' is not UTF-8"):
        load_task("own", data_dir=tmp_path)


def test_labels_known_from_elsewhere(tmp_path):
    own(tmp_path, "one", labels=("a", "c"))
    own(tmp_path, "two", labels=("b", "c"))
    task = load_task("own", ["one"], data_dir=tmp_path, labels=["a", "b", "c"])
    assert task.labels == ("a", "b", "c")
    assert "one: no training example of b" in task.notes
    both = load_task("own", data_dir=tmp_path)
    assert fingerprint(task)["one"] == fingerprint(both)["one"]
    assert fingerprint(task)["one"] != fingerprint(load_task("own", ["one"], data_dir=tmp_path))["one"]
    with pytest.raises(FedPromptError, match=r"two, train.tsv, row 2: unknown label 'b'; expected one of a, c"):
        load_task("own", ["two"], data_dir=tmp_path, labels=["a", "c"])


def test_a_client_of_one_class_loads_with_the_labels_of_all(tmp_path):
    own(tmp_path, "one", labels=("a",))
    with pytest.raises(FedPromptError, match="all training examples have the label 'a'"):
        load_task("own", data_dir=tmp_path)
    task = load_task("own", data_dir=tmp_path, labels=("a", "b"))
    assert task.labels == ("a", "b") and set(task.data["one"]["train"]["label"]) == {0}


def test_a_text_column_taken_for_labels_is_refused_before_anything_is_allocated(tmp_path):
    rows = [["text", "label"], *([f"text {i}", f"label {i}"] for i in range(10_001))]
    own(tmp_path, "xx", train=rows)
    with pytest.raises(FedPromptError, match=r"^10,001 different labels, such as 'label 0'; expected at most 10,000"):
        load_task("own", data_dir=tmp_path)
    own(tmp_path, "xx")
    with pytest.raises(FedPromptError, match=r"^20,000 different labels, such as '0'"):
        load_task("own", data_dir=tmp_path, labels=[str(i) for i in range(20_000)])


def test_labels_outside_a_published_set_are_refused(tmp_path):
    news(tmp_path, "hau", topics=("health", "weather"))
    with pytest.raises(FedPromptError, match=r"hau, train.tsv, row 3: unknown label 'weather'.*business, .*technology"):
        load_task("masakhanews", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "own"}, "task 'own' reads tables of yours; .*--data-dir.*FEDPROMPT_DATA"),
        ({"name": "own", "data_dir": "{}/none"}, "data_dir is '.*none', where nothing is"),
        ({"name": "sib200", "data_dir": "{}"}, "no file of task 'sib200' in data_dir .*sib200/LANGUAGE/test.tsv"),
        ({"name": "masakhanews", "data_dir": "{}", "languages": ["yor"]}, "yor: no file test.tsv; expected .*yor"),
        ({"name": "masakhanews", "data_dir": "{}", "text_field": "title"}, "unknown text_field 'title'.*headline"),
        (
            {"name": "xnli", "data_dir": "{}", "languages": ["sw"], "text_field": "both"},
            "task 'xnli' has no choice of texts",
        ),
        ({"name": "own", "data_dir": "{}/few"}, "xx: 1 rows with 1 different texts are too few to split off"),
        ({"name": "own", "data_dir": "{}/mixed"}, "two, test.tsv has a column 'text_pair', one, test.tsv has none"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, arguments, message):
    news(tmp_path / "masakhanews", "yor")
    (tmp_path / "masakhanews" / "yor" / "test.tsv").unlink()
    own(tmp_path / "few", "xx", train=1, dev=None, test=1)
    own(tmp_path / "mixed", "one")
    pairs = [["text", "text_pair", "label"], ["a", "b", "good"], ["c", "d", "bad"]]
    own(tmp_path / "mixed", "two", train=pairs, dev=None, test=pairs)
    arguments = {key: value.format(tmp_path) if key == "data_dir" else value for key, value in arguments.items()}
    with pytest.raises(FedPromptError, match=message) as caught:
        load_task(**arguments)
    assert "\n" not in str(caught.value)


def test_a_wrong_environment_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDPROMPT_DATA", str(tmp_path / "none"))
    with pytest.raises(FedPromptError, match=r"FEDPROMPT_DATA is '.*none', where nothing is"):
        load_task("xnli")


@given(
    st.lists(st.tuples(st.text(max_size=3), st.sampled_from("abc")), min_size=5, max_size=60, unique_by=lambda r: r[0]),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_dealing_keeps_the_mix_of_labels(rows, first, rng):
    keys, labels = zip(*rows, strict=True)
    parts = deal("xx", keys, labels, [first], rng)
    assert sorted(row for part in parts for row in part) == list(range(len(rows)))
    assert len(parts[0]) == first
    for label, count in Counter(labels).items():
        share = sum(labels[row] == label for row in parts[0])
        assert abs(share - first * count / len(rows)) <= 1.5


@given(st.lists(st.sampled_from("abcdefg"), min_size=8, max_size=40))
def test_dealing_keeps_equal_keys_together(keys):
    try:
        parts = deal("xx", keys, ["x"] * len(keys), [len(keys) // 2], random.Random(0))
    except FedPromptError as error:
        assert "too few" in str(error)
    else:
        assert not {keys[row] for row in parts[0]} & {keys[row] for row in parts[1]}


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(str.strip), min_size=1, max_size=5)
)
def test_what_a_csv_writer_quotes_is_read_back(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("table") / "train.tsv"
    stream = io.StringIO(newline="")
    table = [["text", "label"], *([text, "x"] for text in texts)]
    csv.writer(stream, dialect="excel-tab", quoting=csv.QUOTE_ALL).writerows(table)
    path.write_bytes(stream.getvalue().encode())
    found = tables.rows(path, "xx", tables.Asked({}, {}, "always", may_be_empty=("text",)), [])
    assert [row.cells["text"] for row in found] == [text.strip() for text in texts]


# The hub's form: a folder with a data card and parquet (or TSV) files, which `load_dataset` takes in place of an id.


def hub_folder(folder, config, splits, label="label", names=None):
    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, columns in splits.items():
        kinds = {name: Value("string") for name in columns} | ({label: ClassLabel(names=names)} if names else {})
        path = folder / config / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_dict(columns, features=Features(kinds)).to_parquet(path)
        lines += [f"  - split: {split}", f"    path: {config}/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(folder)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def lingala(rows=(608, 87, 175), names=TOPICS, shift=0):
    return {
        split: {
            "label": [i % 7 + shift for i in range(size)],
            "headline": [f"{split} headline {i}" for i in range(size)],
            "text": [f"Article {i}" for i in range(size)],
        }
        for split, size in zip(("train", "validation", "test"), rows, strict=True)
    }


def load_hub(name, language, **changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CORPORA, name, CORPORA[name].model_copy(update=changes))
        task = load_task(name, [language])
    splits = {split: rows.to_dict() for split, rows in task.data[language].items()}
    return task, {split: {**rows, "label": labels_of(task, language, split)} for split, rows in splits.items()}


def test_masakhanews_in_the_form_of_the_hub(tmp_path, hub_cache):
    names = list(reversed(TOPICS))  # another order of numbers than ours
    task, splits = load_hub("masakhanews", "lin", hub=hub_folder(tmp_path / "hub", "lin", lingala(), names=names))
    assert {split: len(columns["label"]) for split, columns in splits.items()} == {
        "train": 608, "dev": 87, "test": 175,
    }  # fmt: skip
    assert splits["test"]["text"][:2] == ["test headline 0", "test headline 1"]
    assert splits["test"]["label"][:2] == ["technology", "sports"]
    assert task.labels == TOPICS
    assert "from the hub" in task.notes[0]
    assert not any("whole corpus" in note for note in task.notes)


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        (lingala((607, 87, 175)), TOPICS, "configuration 'lin'.*, train: found 607 rows of .*; expected 608 rows"),
        (lingala((608, 87, 174)), TOPICS, "test: found 174 rows of .*; expected 175 rows"),
        (lingala(), (*TOPICS[:-1], "weather"), "train: found 608 .*, labels \\['weather'\\]; expected .*'business'"),
        (lingala(shift=-1), TOPICS, "train: found 608 .*, labels \\[''\\]; expected"),
        ({"train": lingala()["train"]}, TOPICS, "validation: found 0 rows of nothing, .*expected 87 rows"),
        (
            {split: {k: v for k, v in rows.items() if k != "text"} for split, rows in lingala().items()},
            TOPICS,
            "train: found 608 rows of label, headline, .*rows of headline, text, label",
        ),
    ],
)
def test_a_changed_source_on_the_hub_is_named(tmp_path, hub_cache, data, names, message):
    folder = hub_folder(tmp_path / "hub", "lin", data, names=list(names))
    with pytest.raises(FedPromptError, match=message) as caught:
        load_hub("masakhanews", "lin", hub=folder)
    assert str(caught.value).startswith(folder)
    assert "FEDPROMPT_DATA" in str(caught.value)


def test_sib200_in_the_form_of_the_hub(tmp_path, hub_cache):
    lines = ["---", "configs:", "- config_name: hau_Latn", "  data_files:"]
    for split, file, size in (("train", "train", 701), ("validation", "dev", 99), ("test", "test", 204)):
        topics = CORPORA["sib200"].labels
        rows = [[str(i), topics[i % 7], f'{split} "sentence" {i}'] for i in range(size)]
        write(tmp_path / "hub" / "data" / "hau_Latn" / f"{file}.tsv", [["index_id", "category", "text"], *rows])
        lines += [f"  - split: {split}", f"    path: data/hau_Latn/{file}.tsv"]
    (tmp_path / "hub" / "README.md").write_text("\n".join([*lines, "---", ""]))
    _, splits = load_hub("sib200", "hau_Latn", hub=str(tmp_path / "hub"))
    assert splits["test"]["text"][3] == 'test "sentence" 3'
    assert splits["test"]["label"][:2] == ["entertainment", "geography"]
    mirror = load_task("sib200", data_dir=tmp_path / "hub" / "data").data["hau_Latn"]
    assert {split: list(mirror[split]["text"]) for split in ("dev", "test")} == {
        split: splits[split]["text"] for split in ("dev", "test")
    }


def test_xglue_in_the_form_of_the_hub(tmp_path, hub_cache):
    names = CORPORA["xglue-nc"].labels
    rows = {
        "news_title": [f"Titre {i}" for i in range(10_000)],
        "news_body": [f"Texte {i}" for i in range(10_000)],
        "news_category": [i % 10 for i in range(10_000)],
    }
    folder = hub_folder(tmp_path / "hub", "nc", {"validation.fr": rows}, "news_category", list(names))
    _, splits = load_hub("xglue-nc", "fr", hub=folder)
    assert [len(splits[split]["label"]) for split in SPLITS] == [8_000, 1_000, 1_000]
    number = int(splits["test"]["text"][0].split()[-1])
    assert splits["test"]["text"][0] == f"Titre {number} Texte {number}"
    assert splits["test"]["label"][0] == names[number % 10]


def test_xnli_in_the_form_of_the_hub(tmp_path, hub_cache):
    rows = {"premise": ["p1", "p2", "p3"], "hypothesis": ["h1", "h2", "h3"], "label": [0, 1, 2]}
    names = list(CORPORA["xnli"].labels)
    folder = hub_folder(tmp_path / "hub", "sw", dict.fromkeys(("train", "validation", "test"), rows), names=names)
    _, splits = load_hub("xnli", "sw", hub=folder, rows={"sw": (3, 3, 3)})
    assert splits["test"] == {"text": rows["premise"], "text_pair": rows["hypothesis"], "label": names}
    with pytest.raises(FedPromptError, match=r"train: found 3 rows of .*expected 392,702 rows"):
        load_hub("xnli", "sw", hub=folder)


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if corpus.hub])
def test_without_the_hub_the_way_out_is_named(name, hub_cache):
    with pytest.raises(FedPromptError, match=r"go online, or .*--data-dir \(data_dir\) or FEDPROMPT_DATA") as caught:
        load_task(name, [available_languages(name)[0]])
    assert str(caught.value).startswith(f"cannot load {CORPORA[name].hub} ")
    assert "\n" not in str(caught.value)


# The real files, where there is a mirror of them.


def real(name):
    try:
        found = available_languages(name, REAL) if REAL else ()
    except FedPromptError:
        found = ()
    return found or [pytest.param("", marks=pytest.mark.skip(reason=f"FEDPROMPT_DATA names no folder with {name}"))]


@pytest.mark.parametrize("language", real("masakhanews"))
def test_the_real_masakhanews(language):
    task = load_task("masakhanews", [language], data_dir=REAL, text_field="both")
    data = task.data[language]
    published = CORPORA["masakhanews"].rows[language]
    assert not published or (len(data["dev"]), len(data["test"])) == published[1:]
    assert set(data["test"]["label"]) <= set(data["train"]["label"])
    assert all(data["test"]["text"])


@pytest.mark.parametrize("language", real("xnli"))
def test_the_real_xnli(language):
    data = load_task("xnli", [language], data_dir=REAL).data[language]
    assert len(data["test"]) == 5_010
    assert set(Counter(data["test"]["label"]).values()) == {1_670}
    assert not set(data["train"]["text"]) & set(data["dev"]["text"])
