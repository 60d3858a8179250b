"""Your own data: every usual form of table gives the same rows, and what goes wrong in silence elsewhere is said."""

import json
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import fedprompt_helpers as fp
from fedprompt_helpers.cli import main
from fedprompt_helpers.errors import FedPromptError

# Language, split, text, label: ours. Commas, quotation marks and a tab's worth of spaces are in the texts on purpose.
ROWS = [
    (language, split, f"{word} {number}, {language}", label)
    for language, words in {"cy": ("glaw", "gôl"), "sw": ("mvua", "bao")}.items()
    for split, size in {"train": 6, "dev": 2, "test": 4}.items()
    for number in range(size)
    for word, label in [(words[number % 2], ("weather", "sport")[number % 2])]
]
WANTED = {
    (language, split): [(text, label) for x, y, text, label in ROWS if (x, y) == (language, split)]
    for language, split, _, _ in ROWS
}


def delimited(path: Path, rows, mark="\t", head=("text", "label")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [mark.join(f'"{cell}"' if mark in cell else cell for cell in row) for row in [head, *rows]]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def json_lines(path: Path, rows, head=("text", "label")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(dict(zip(head, row, strict=True))) + "\n" for row in rows), "utf-8")


def saved(path: Path, rows) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["weather", "sport"])})
    texts, labels = zip(*rows, strict=True)
    Dataset.from_dict({"text": list(texts), "label": list(labels)}, features=features).save_to_disk(path)


def as_folders(root: Path) -> dict:
    for (language, split), rows in WANTED.items():
        delimited(root / language / f"{split}.tsv", rows)
    return {}


def as_commas(root: Path) -> dict:
    for (language, split), rows in WANTED.items():
        delimited(root / language / f"{split}.csv", rows, ",", ("Sentence", "Category"))
    return {}


def as_semicolons(root: Path) -> dict:
    for (language, split), rows in WANTED.items():
        delimited(root / f"{split}_{language}.csv", rows, ";")
    return {}


def as_json_lines(root: Path) -> dict:
    for (language, split), rows in WANTED.items():
        json_lines(root / f"{language}.{split}.jsonl", rows)
    return {}


def as_json_lists(root: Path) -> dict:
    for (language, split), rows in WANTED.items():
        path = root / language / f"{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([{"text": text, "label": label} for text, label in rows], indent=1), "utf-8")
    return {}


def as_language_files(root: Path) -> dict:
    for language in ("cy", "sw"):
        rows = [(text, label, split) for x, split, text, label in ROWS if x == language]
        delimited(root / f"{language}.tsv", rows, head=("text", "label", "split"))
    return {}


def as_split_files(root: Path) -> dict:
    for split, name in {"train": "training", "dev": "validation", "test": "gold"}.items():
        rows = [(language, text, label) for language, x, text, label in ROWS if x == split]
        json_lines(root / f"{name}.jsonl", rows, ("lang", "text", "label"))
    return {"split_names": "test=gold"}


def as_one_table(root: Path) -> dict:
    rows = [(text, label, language, split) for language, split, text, label in ROWS]
    delimited(root / "all.csv", rows, ",", ("what was said", "mood", "tongue", "part"))
    return {"columns": "text=what was said,label=mood,language=tongue,split=part"}


def as_saved_folders(root: Path) -> dict:
    for (language, split), rows in WANTED.items():
        saved(root / language / split, rows)
    return {}


def as_saved_dictionary(root: Path) -> dict:
    table = {}
    for split, name in {"train": "train", "dev": "validation", "test": "test"}.items():
        rows = [row for row in ROWS if row[1] == split]
        columns = {"language": [x for x, *_ in rows], "text": [t for *_, t, _ in rows], "label": [y for *_, y in rows]}
        table[name] = Dataset.from_dict(columns)
    DatasetDict(table).save_to_disk(root)
    return {}


FORMS = [value for name, value in list(globals().items()) if name.startswith("as_")]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__[3:])
def test_every_form_gives_the_same_rows(form, tmp_path):
    named = form(tmp_path / "data")
    task = fp.load_task("own", data_dir=tmp_path / "data", **named)
    assert sorted(task.languages) == ["cy", "sw"] and task.labels == ("sport", "weather")
    for (language, split), rows in WANTED.items():
        found = task.data[language][split]
        names = found.features["label"].int2str(found["label"][:])
        assert sorted(zip(found["text"][:], names, strict=True)) == sorted(rows), (language, split)
    fresh = fp.load_task("own", ["sw"], data_dir=tmp_path / "data", **named)
    assert fresh.data["sw"]["train"]["text"][:] == task.data["sw"]["train"]["text"][:]


def test_one_file_alone_is_split_by_label(tmp_path):
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(40)]
    delimited(tmp_path / "mine.tsv", rows)
    task = fp.load_task("own", data_dir=tmp_path / "mine.tsv")
    assert task.languages == ("mine",)
    sizes = {split: len(part) for split, part in task.data["mine"].items()}
    assert sizes == {"train": 32, "dev": 4, "test": 4} and any("80/10/10%" in note for note in task.notes)


def language_of(folder: Path, content: str, name: str = "train.tsv", **named) -> fp.load_task:
    delimited(folder / "xx" / "test.tsv", [("one", "a"), ("two", "b")])
    (folder / "xx" / name).write_text(content, "utf-8")
    return fp.load_task("own", data_dir=folder, **named)


PAIR = "one x\ta\ntwo x\tb\nthree x\ta\nfour x\tb\nfive x\ta\nsix x\tb\n"
SAID = {
    "a quotation mark that another line closes": (
        "text\tlabel\n" + PAIR.replace("one", '"one').replace("four x", 'four x"'),
        "quotation marks in 2 lines are taken as they are",
        6,
    ),
    "quotation marks that enclose each text": ("text\tlabel\n" + PAIR.replace("one x", '"one ""x"""'), None, 6),
    "labels with spaces around": ("text\tlabel\n" + PAIR.replace("\ta", "\t a "), None, 6),
    "labels that differ by case": (
        "text\tlabel\n" + PAIR + "seven\tA\neight\tA\n",
        "labels 'A' and 'a' are taken for different classes",
        8,
    ),
    "labels with marks that nobody sees": (
        "text\tlabel\n" + PAIR.replace("\ta", "\ta\u200b", 1),
        "marks that nobody",
        6,
    ),
    "labels that are numbers": (
        "text\tlabel\n" + PAIR.replace("\ta", "\t1").replace("\tb", "\t1.0"),
        "labels '1' and '1.0' are taken for different classes",
        6,
    ),
    "texts with two labels": (
        "text\tlabel\n" + PAIR + "One  X\tb\n",
        r"1 texts of xx, train.tsv come more than once, 1 of them with different labels, .* row 2 \(a\) and row 8",
        7,
    ),
    "names in capitals": ("Text\tLABEL\n" + PAIR, "column 'LABEL' is read as label", 6),
    "an index without a name": (
        "\ttext\tlabel\n" + "".join(f"0\t{x}\n" for x in PAIR.split("\n") if x),
        "not used: a co",
        6,
    ),
    "blank lines": ("text\tlabel\n\n" + PAIR.replace("two", "   \n\t\ntwo") + "  \n", None, 6),
    "line ends of Windows": (("text\tlabel\n" + PAIR).replace("\n", "\r\n"), None, 6),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_odd_is_said_and_no_row_is_lost(case, tmp_path):
    import re

    content, said, rows = SAID[case]
    test = "1\t1.0" if "numbers" in case else None
    if test:
        (tmp_path / "xx").mkdir()
    folder = tmp_path
    if test:
        delimited(folder / "xx/test.tsv", [("one", "1"), ("two", "1.0")])
        (folder / "xx/train.tsv").write_text(content, "utf-8")
        task = fp.load_task("own", data_dir=folder)
    else:
        task = language_of(folder, content)
    splits = task.data["xx"]
    assert len(splits["train"]) + len(splits["dev"]) == rows
    if said:
        assert any(re.search(said, note) for note in task.notes), task.notes
    else:
        assert len(task.labels) == 2
    assert all(label == label.strip() for label in task.labels)


def test_a_split_of_another_name_is_read_and_a_file_that_is_not_read_is_named(tmp_path):
    delimited(tmp_path / "xx/valid.tsv", [("four", "a"), ("five", "b")])
    delimited(tmp_path / "xx/extra.tsv", [("six", "a")])
    task = language_of(tmp_path, "text\tlabel\n" + PAIR)
    assert len(task.data["xx"]["dev"]) == 2 and len(task.data["xx"]["train"]) == 6
    assert "xx: not read: xx/extra.tsv" in task.notes


GOOD = "text\tlabel\n" + PAIR
REFUSED = {
    "a text of marks that nobody sees": (
        "train.tsv",
        "text\tlabel\n\u200b\u200e\ta\n",
        {},
        "row 2: the text is empty; fo",
    ),
    "no column of texts": ("train.csv", "words,label\na,b\n", {}, "row 1: no column 'text'; found 'words'.*text=words"),
    "a column that is not there": ("train.tsv", GOOD, {"columns": "text=txt"}, "'txt'; nearest: text"),
    "no JSON": ("train.jsonl", '{"text": "a", "label": "b"}\n{"text"\n', {}, "row 2: no JSON .*expected one object a"),
    "no object": ("train.jsonl", '["a", "b"]\n', {}, "row 1: no object; found .* expected one a line"),
    "a list for a text": (
        "train.jsonl",
        '{"text": ["a"], "label": "b"}\n',
        {},
        r"row 1: 'text' is a list, \"\['a'\]\"",
    ),
    "a label that is no number": ("train.jsonl", '{"text": "a", "label": NaN}\n', {}, "row 1: 'label' is no number"),
    "one name for two": ("train.tsv", GOOD, {"columns": "text=text,label=text"}, "columns gives 'text' two meanings"),
    "no label in an object": ("train.jsonl", '{"text": "a", "label": "b"}\n{"text": "c"}\n', {}, "row 2: no 'label'"),
    "too many fields": ("train.csv", "text,label\na,b,c\n", {}, "row 2: a field after .* fields separated by commas"),
    "an unknown split": ("all.tsv", "text\tlabel\tsplit\na\tb\toval\n", {}, "unknown split 'oval'; .*test=oval"),
    "a mistake in an option": ("train.tsv", GOOD, {"columns": "text"}, "columns has 'text'; expected NAME="),
    "an unknown name": ("train.tsv", GOOD, {"columns": "txt=a"}, "unknown name in columns 'txt'; nearest: text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_one_line(case, tmp_path):
    name, content, named, said = REFUSED[case]
    folder = tmp_path if name != "all.tsv" else tmp_path / "one"
    with pytest.raises(FedPromptError, match=said) as caught:
        if name == "all.tsv":
            folder.mkdir()
            (folder / name).write_text(content, "utf-8")
            fp.load_task("own", data_dir=folder)
        else:
            language_of(folder, content, name, **named)
    assert "\n" not in str(caught.value)


def test_where_nothing_can_be_read_it_says_what_is_expected(tmp_path):
    (tmp_path / "a/b/en").mkdir(parents=True)
    delimited(tmp_path / "a/b/en/train.tsv", [("x", "y")])
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    with pytest.raises(FedPromptError, match=r"no table in .*; expected \.tsv, .*; not read: a/b, sheet\.xlsx"):
        fp.load_task("own", data_dir=tmp_path)
    with pytest.raises(FedPromptError, match=r"sheet\.xlsx' is no table that is known; .*save a spreadsheet as CSV"):
        fp.load_task("own", data_dir=tmp_path / "sheet.xlsx")


def test_quotes_can_be_forced(tmp_path):
    content = "text\tlabel\n" + PAIR.replace("one", '"one').replace("two x", 'two x"')
    assert any(text.startswith('"one') for text in language_of(tmp_path, content).data["xx"]["train"]["text"][:])
    swallowed = language_of(tmp_path, content, quotes="always").data["xx"]
    assert len(swallowed["train"]) + len(swallowed["dev"]) == 5
    enclosed = "text\tlabel\n" + PAIR.replace("one x", '"one x"')
    found = language_of(tmp_path, enclosed, quotes="never").data["xx"]
    assert '"one x"' in [*found["train"]["text"][:], *found["dev"]["text"][:]]


def command(capsys, monkeypatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["fedprompt", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, *capsys.readouterr()


def test_check_sums_up_and_trains_nothing(tmp_path, capsys, monkeypatch):
    as_folders(tmp_path)
    delimited(tmp_path / "sw/dev.tsv", [("glaw 0, cy", "sport"), ("glaw 2, cy", "weather")])
    delimited(tmp_path / "cy/test.tsv", [("glaw 2, cy", "weather"), ("x " * 80, "sport")])
    code, out, err = command(capsys, monkeypatch, "check", "--data-dir", str(tmp_path))
    assert code == 0 and not err
    head, cy, sw, _, counted, sport, weather = (line.split() for line in out.splitlines()[:7])
    assert head == ["language", "train", "dev", "test", "unknown", "tokens", "cut", "texts"]
    assert cy == ["cy", "6", "2", "2", "0.0%", "0.0%"] and sw[:4] == ["sw", "6", "2", "4"]
    assert counted == ["train", "and", "dev", "cy", "sw"] and sport == ["sport", "4", "4"]
    assert weather == ["weather", "4", "4"]
    assert (
        "2 texts stand in more than one language; 1 of them are tested in one and trained on in another; 1 have" in out
    )


def test_a_script_that_the_tokenizer_does_not_know_is_said_before_and_after(tmp_path, tiny_backbone):
    rows = [(f"{chr(0x16A00 + i)}{chr(0x16A01 + i)} {chr(0x16A02 + i)}", "ab"[i % 2]) for i in range(12)]  # Mro letters
    for split in ("train", "dev", "test"):
        delimited(tmp_path / f"data/mro/{split}.tsv", rows)
        delimited(tmp_path / f"data/sw/{split}.tsv", [(text * 40, label) for _, _, text, label in ROWS[12:24]])
    config = fp.RunConfig(
        task="own", data_dir=str(tmp_path / "data"), languages=("mro", "sw"), rounds=1, method="head",
        backbone=tiny_backbone, max_length=16, learning_rate=1e-6,
    )  # fmt: skip
    notes = fp.load_record(fp.run(config, tmp_path / "runs"))["notes"]
    assert any(note.startswith("mro: ") and "of all tokens are unknown to the tokenizer" in note for note in notes)
    assert "sw: 100% of the training texts are cut to 16 tokens" in notes
    assert any("usual causes: a learning rate" in note for note in notes)
