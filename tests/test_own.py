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
        r"xx, train.tsv, texts .* more than once: 1, of them with different labels: 1, .* row 2 \(a\) and row 8",
        7,
    ),
    "names in capitals": ("Text\tLABEL\n" + PAIR, "column 'LABEL' is read as label", 6),
    "an index without a name": (
        "\ttext\tlabel\n" + "".join(f"0\t{x}\n" for x in PAIR.split("\n") if x),
        "not used: a co",
        6,
    ),
    "blank lines": ("text\tlabel\n\n" + PAIR.replace("two", "   \n\t\ntwo") + "  \n", None, 6),
    "empty rows of a spreadsheet": (
        "text\tlabel\tnote\n" + "\t\t\n".join(f"{row}\tx\n" for row in PAIR.splitlines()),
        "not used: 'note'",
        6,
    ),
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
    "no column of texts": (
        "train.csv",
        "words,label\na,b\n",
        {},
        "row 1: no column 'text'; found 'words'.*--columns text=NAME",
    ),
    "a column that is not there": ("train.tsv", GOOD, {"columns": "text=txt"}, "'txt'; nearest: text"),
    "no JSON": ("train.jsonl", '{"text": "a", "label": "b"}\n{"text"\n', {}, "row 2: no JSON .*expected one object a"),
    "separators alone": ("train.csv", ",,\n,,\n", {}, "row 1: no column 'text'; found nothing"),
    "a list in a later line": (
        "train.jsonl",
        '{"text": "a", "label": "b"}\n[]\n',
        {},
        "row 2: no object; found '\\[\\]'",
    ),
    "no object": ("train.jsonl", '["a", "b"]\n', {}, "row 1: no object; found .* expected one a line"),
    "a list for a text": (
        "train.jsonl",
        '{"text": ["a"], "label": "b"}\n',
        {},
        r"row 1: the text is \"\['a'\]\", a list",
    ),
    "a label that is no number": (
        "train.jsonl",
        '{"text": "a", "label": NaN}\n',
        {},
        "row 1: the label is empty; found nan",
    ),
    "one name for two": ("train.tsv", GOOD, {"columns": "text=text,label=text"}, "columns gives 'text' two meanings"),
    "no label in an object": (
        "train.jsonl",
        '{"text": "a", "label": "b"}\n{"text": "c"}\n',
        {},
        "row 2: the label is empty",
    ),
    "too many fields": ("train.csv", "text,label\na,b,c\n", {}, "row 2: found 3 fields separated by commas"),
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


@pytest.mark.slow
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


# What a reviewer lost or got wrong, and what is wanted instead

SIX = "".join(f"text {i}\t{'ab'[i % 2]}\n" for i in range(6))
TEN = "".join(f"other {i}\t{'ab'[i % 2]}\n" for i in range(10))
HEAD = "text\tlabel\n"


def write(folder: Path, **files: str | bytes) -> Path:
    """Write files whose names have two underscores for a slash and one before the suffix for a point."""
    for name, content in files.items():
        path = folder / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return folder


def sizes(task, language="xx") -> dict[str, int]:
    return {split: len(rows) for split, rows in task.data[language].items()}


def test_a_missing_test_split_is_cut_off_the_training_table_and_no_table_is_lost(tmp_path):
    task = fp.load_task("own", data_dir=write(tmp_path, xx__train_tsv=HEAD + TEN, xx__dev_tsv=HEAD + SIX))
    assert sizes(task) == {"train": 8, "dev": 6, "test": 2}
    assert any("the 10 rows of the train file are split, for there is no test file" in note for note in task.notes)


def json_table(rows: list[dict]) -> str:
    return "\n".join(json.dumps(row) for row in rows) + "\n"


MANY = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(10)]


def test_a_column_of_languages_is_found_and_a_folder_that_says_otherwise_is_refused(tmp_path):
    rows = [row | {"info": {"lang": "no"}} for row in MANY]  # a name inside an object is no column
    assert fp.load_task("own", data_dir=write(tmp_path / "1", xx_jsonl=json_table(rows))).languages == ("xx",)
    rows = [row | {"language": "cy"} for row in MANY]
    pretty = json.dumps(rows, indent=2)
    assert fp.load_task("own", data_dir=write(tmp_path / "2", news_json=pretty)).languages == ("cy",)
    Dataset.from_list(rows).save_to_disk(tmp_path / "3/news/train")
    for folder in (write(tmp_path / "4", news__train_jsonl=json_table(rows)), tmp_path / "3"):
        with pytest.raises(
            FedPromptError, match="its folder says 'news', its column 'cy'; move it out of the folder, or"
        ):
            fp.load_task("own", data_dir=folder)
        assert fp.load_task("own", data_dir=folder, columns="language=").languages == ("news",)


def test_names_in_later_lines_count(tmp_path):
    rows = [*MANY, *(row | {"split": "test", "text": "t" + row["text"]} for row in MANY)]
    rows[:10] = [row | {"split": "train"} for row in rows[:10]]
    first = {"label": "a", "text": "first", "note": "no split here"}
    with pytest.raises(FedPromptError, match="row 1: the split is empty"):
        fp.load_task("own", data_dir=write(tmp_path / "1", xx_jsonl=json_table([first, *rows])))
    task = fp.load_task("own", data_dir=write(tmp_path / "2", xx_jsonl=json_table(rows)))
    assert sizes(task)["test"] == 10


def test_shards_of_a_split_are_one_split_and_said(tmp_path):
    name = "xx__train-0000{}-of-00002_tsv"
    files = {name.format(0): HEAD + SIX, name.format(1): HEAD + TEN}
    task = fp.load_task("own", data_dir=write(tmp_path, xx__dev_tsv=HEAD + SIX, xx__test_tsv=HEAD + SIX, **files))
    assert sizes(task)["train"] == 16
    assert any("train is read from 2 tables: xx/train-00000-of-00002.tsv, xx/train-00" in note for note in task.notes)


def test_files_beside_tables_do_not_stop_them(tmp_path):
    notes = {"README_txt": "How these were made\n", "meta_json": '{"licence": "CC0"}', "_old_tsv": HEAD, ".x_tsv": HEAD}
    task = fp.load_task("own", data_dir=write(tmp_path, xx_tsv=HEAD + TEN, **notes))
    assert task.languages == ("xx",)
    assert "xx: not read: .x.tsv, README.txt, _old.tsv, meta.json" in task.notes


def test_a_folder_is_named_by_where_it_is(tmp_path, monkeypatch):
    write(tmp_path / "cy", train_tsv=HEAD + TEN, test_tsv=HEAD + SIX)
    monkeypatch.chdir(tmp_path / "cy")
    assert fp.load_task("own", data_dir=".").languages == ("cy",)


def test_a_column_may_be_left_unread(tmp_path):
    folds = "text\tlabel\tfold\n" + "".join(line + "\t3\n" for line in TEN.splitlines())
    folder = write(tmp_path, xx_tsv=folds)
    with pytest.raises(FedPromptError, match=r"unknown split '3'; .*or read no such column: --columns split="):
        fp.load_task("own", data_dir=folder)
    assert sum(sizes(fp.load_task("own", data_dir=folder, columns="split=")).values()) == 10


def test_languages_that_are_only_tested_are_not_trained_on(tmp_path, capsys, monkeypatch):
    folder = write(tmp_path, xx_tsv=HEAD + TEN, yy_tsv=HEAD + TEN)
    code, out, err = command(capsys, monkeypatch, "check", "--data-dir", str(folder), "--unseen", "yy")
    assert (code, err) == (0, "") and "yy: only tested" in out
    assert fp.load_task("own", data_dir=folder, unseen=["yy"]).languages == ("xx", "yy")


FLAGS = {"\U0001f3f4\U000e0067\U000e0062\U000e0077": "Wales", "\U0001f3f4\U000e0067\U000e0062\U000e0073": "Scotland"}
PERSIAN = ("می\u200cخواهم", "میخواهم")


@pytest.mark.parametrize("labels", [tuple(FLAGS), PERSIAN], ids=["flags", "joiners"])
def test_labels_that_differ_by_what_is_seen_stay_apart(labels, tmp_path):
    rows = "".join(f"text {i}\t{labels[i % 2]}\n" for i in range(10))
    assert set(fp.load_task("own", data_dir=write(tmp_path, xx_tsv=HEAD + rows)).labels) == set(labels)


def test_labels_that_are_merged_are_named(tmp_path):
    rows = TEN.replace("0\ta", "0\ta\u200b")
    notes = fp.load_task("own", data_dir=write(tmp_path, xx_tsv=HEAD + rows)).notes
    assert any(r"in NFC: 'a\u200b' as 'a'" in note for note in notes)


def test_line_breaks_inside_quotes_are_read_in_commas(tmp_path):
    rows = "".join(f'"one {i}, and\ntwo, three",{"ab"[i % 2]}\n' for i in range(10))  # a comma in each line
    task = fp.load_task("own", data_dir=write(tmp_path, xx_csv="text,label\n" + rows))
    assert sum(sizes(task).values()) == 10
    assert "one 0, and\ntwo, three" in [text for part in task.data["xx"].values() for text in part["text"][:]]


def saved_with(folder: Path, labels: list) -> Path:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    Dataset.from_dict({"text": ["x", "y", "z"], "label": labels}, features=features).save_to_disk(folder / "xx/train")
    return folder


def broken_bytes(folder: Path) -> Path:
    import pyarrow as pa

    texts = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    Dataset(pa.table({"text": texts, "label": ["a"]})).save_to_disk(folder / "xx/train")
    return folder


WRONG = {
    "languages that lead elsewhere": (
        lambda root: write(root, all_jsonl=json_table([row | {"language": "../cy"} for row in MANY])),
        "all.jsonl: the language '../cy' cannot name a folder",
    ),
    "a language in no encoding": (
        lambda root: write(root, **{"\udcff_tsv": HEAD + TEN}),
        r"the language '\\udcff' cannot name",
    ),
    "a split by file and another by column": (
        lambda root: write(root, xx__train_tsv="text\tlabel\tsplit\na\tb\ttest\n"),
        "row 2: it is of test and train, by file and column; rename one, or give --columns split=",
    ),
    "two tables of a split with other columns": (
        lambda root: write(root, xx__train_tsv=HEAD + TEN, xx_tsv="text\ttext_pair\tlabel\na\tb\ta\n"),
        "columns of text and label, but xx, xx.tsv has text and text_pair and label|columns of text and text_pair and",
    ),
    "a row of a saved data set without a label": (
        lambda root: saved_with(root, [0, 1, -1]),
        "row 3: the label is empty",
    ),
    "a row of a saved data set with no label": (
        lambda root: saved_with(root, [0, None, 1]),
        "row 2: the label is empty",
    ),
    "bytes in a saved data set that are no text": (broken_bytes, "xx, train has a text that is not UTF-8"),
    "half a character": (
        lambda root: write(root, xx_jsonl='{"text": "\\ud83d", "label": "a"}\n'),
        r"row 1: the text '\\ud83d' has '\\ud83d', which is no character",
    ),
    "deep JSON": (lambda root: write(root, xx_jsonl="[" * 200_000), "row 1: no JSON"),
    "an empty file": (lambda root: write(root, xx__train_tsv=""), "xx, train.tsv: the file is empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_used_to_be_lost_or_a_traceback_is_one_line(case, tmp_path):
    made, said = WRONG[case]
    with pytest.raises(FedPromptError, match=said) as caught:
        fp.load_task("own", data_dir=made(tmp_path))
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"split_names": "train=a,train=b"}, "split_names names 'train' twice"),
        ({"columns": "text=label"}, "no column 'label'; found 'text', 'label'"),
        ({"columns": "text="}, "columns has 'text='; expected NAME="),
    ],
)
def test_one_name_has_one_meaning(option, said, tmp_path):
    with pytest.raises(FedPromptError, match=said):
        fp.load_task("own", data_dir=write(tmp_path, xx_tsv=HEAD + TEN), **option)


def test_a_long_field_is_read(tmp_path):
    rows = TEN + f'"{"w " * 100_000}"\ta\n'
    assert sum(sizes(fp.load_task("own", data_dir=write(tmp_path, xx_tsv=HEAD + rows))).values()) == 11


@pytest.mark.skipif(not hasattr(__import__("os"), "geteuid"), reason="needs the rights of POSIX")
def test_what_may_not_be_read_says_so(tmp_path, monkeypatch):
    folder = write(tmp_path, xx_tsv=HEAD + TEN)

    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)  # whoever runs this may be root, who may read all
    with pytest.raises(FedPromptError, match=r"xx, xx\.tsv cannot be read: Permission denied; look who may read"):
        fp.load_task("own", ["xx"], data_dir=folder)


def test_a_table_without_a_known_column_of_languages_is_one_client_and_says_so(tmp_path):
    rows = "".join(f"{i};{'de' if i % 2 else 'fr'};text {i};{'ab'[i % 3 % 2]}\n" for i in range(30))
    folder, named = write(tmp_path, reviews_csv="Nr;Sprache;Satz;Urteil\n" + rows), "text=Satz,label=Urteil"
    task = fp.load_task("own", data_dir=folder / "reviews.csv", columns=named)
    assert any("so all rows are one client, 'reviews'; name one by --columns language=" in note for note in task.notes)
    assert any("each of 3 test examples is 33 points" in note for note in task.notes)
    task = fp.load_task("own", data_dir=folder / "reviews.csv", columns=f"{named},language=Sprache")
    assert task.languages == ("de", "fr") and not any("one client" in note for note in task.notes)
    task = fp.load_task("own", data_dir=folder / "reviews.csv", columns="text=Nr,label=Urteil,language=Sprache")
    assert any("all texts of reviews.csv are numbers; name another column" in note for note in task.notes)


def test_a_budget_that_a_table_cannot_pay_says_what_to_do(tmp_path):
    with pytest.raises(FedPromptError, match=r"--label-budget\) or leave it out, or add training rows"):
        fp.load_task("own", data_dir=write(tmp_path, xx_tsv=HEAD + TEN), label_budget=64)
