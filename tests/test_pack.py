"""A class's data without a network: packed from a mirror or in the form of the hub, unpacked, and read again."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from book.tools import pack
from fedprompt_helpers.data import kinds, loading
from fedprompt_helpers.data.corpora import CORPORA
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.errors import FedPromptError

from .test_corpora import hub_cache, hub_folder, lingala  # noqa: F401  hub_cache is a fixture

ROOT = Path(__file__).resolve().parent.parent
INTENTS = ROOT / "fedprompt_helpers/data/intents"


@pytest.fixture
def mirror(tmp_path):
    """Voice commands of this book, laid out as somebody's own mirror."""
    for language in ("cy", "ga"):
        shutil.copytree(INTENTS / language, tmp_path / "mirror/own" / language)
    return tmp_path / "mirror"


@pytest.fixture
def packed(mirror, tmp_path):
    pack.make(tmp_path / "class.zip", mirror, ["own"], backbone=False)
    return tmp_path / "class.zip"


def texts(folder):
    data = load_task("own", ["cy", "ga"], data_dir=folder, train_size=None).data
    return {(x, split): list(rows["text"]) for x, splits in data.items() for split, rows in splits.items()}


def test_what_is_unpacked_is_what_was_packed(packed, mirror, tmp_path):
    said = pack.unpack(packed, tmp_path / "class")
    for path in mirror.rglob("*.tsv"):
        assert (tmp_path / "class" / path.relative_to(mirror)).read_bytes() == path.read_bytes()
    assert texts(tmp_path / "class/own") == texts(mirror / "own")
    assert said[0].startswith("6 files") and said[1] == f"export FEDPROMPT_DATA={tmp_path / 'class'}"
    assert "your own" in (tmp_path / "class/LICENCES.txt").read_text("utf-8")
    assert sorted(p.name for p in (tmp_path / "class").iterdir()) == ["LICENCES.txt", "own"], "nothing else is left"


def test_twice_changes_nothing_and_another_folder_is_kept(packed, tmp_path):
    pack.unpack(packed, tmp_path / "class")
    pack.unpack(packed, tmp_path / "class")
    mine = tmp_path / "class/own/cy/train.tsv"
    mine.write_text("text\tlabel\nmine\tTurnOn\n")
    with pytest.raises(FedPromptError, match="is there, and is another; move it away"):
        pack.unpack(packed, tmp_path / "class")
    assert "mine" in mine.read_text()


def test_languages_can_be_chosen(mirror, tmp_path):
    assert {name.split("/")[2] for name in pack.make(tmp_path / "a.zip", mirror, ["own:ga"], backbone=False)} == {"ga"}
    with pytest.raises(FedPromptError, match="no file of 'eu'"):
        pack.make(tmp_path / "b.zip", mirror, ["own:eu"], backbone=False)
    assert not (tmp_path / "b.zip").exists() and not list(tmp_path.glob(".b.zip*")), "whole or not at all"


def test_a_mirror_without_the_corpus_says_what_is_there(mirror, tmp_path):
    with pytest.raises(FedPromptError, match="there is own"):
        pack.make(tmp_path / "a.zip", mirror, ["masakhanews"])
    with pytest.raises(FedPromptError, match="where no folder is"):
        pack.make(tmp_path / "a.zip", tmp_path / "nowhere")
    with pytest.raises(FedPromptError, match="no wheel in"):
        pack.make(tmp_path / "a.zip", mirror, ["own"], wheels=mirror)


def changed(source, target, name=None, content=b"", more=()):
    """Copy a pack, with another content of one file or more files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for each in old.namelist():
            new.writestr(each, content if each == name else old.read(each))
        for each in more:
            new.writestr(each, b"x")
    return target


def test_a_damaged_pack_is_refused_and_leaves_nothing(packed, tmp_path):
    half = tmp_path / "half.zip"
    half.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    other = changed(packed, tmp_path / "other.zip", "data/own/cy/dev.tsv", b"text\tlabel\n")
    newer = changed(packed, tmp_path / "newer.zip", "pack.json", json.dumps({"format": 9, "sha256": {}}).encode())
    evil = changed(packed, tmp_path / "evil.zip", more=["../outside.txt"])
    extra = changed(packed, tmp_path / "extra.zip", more=["data/own/run.py"])
    for file, said in (
        (half, "is no pack, or not all of it"),
        (tmp_path / "nowhere.zip", "is no pack"),
        (other, "another checksum"),
        (newer, "has format 9"),
        (evil, "do not use it"),
        (extra, "do not use it"),
    ):
        with pytest.raises(FedPromptError, match=said):
            pack.unpack(file, tmp_path / "class")
        assert not list((tmp_path / "class").glob("*")), file.name
    assert not (tmp_path / "outside.txt").exists()


def test_the_backbone_goes_into_the_cache(mirror, tmp_path, monkeypatch):
    """The shipped folder is 500 MB, so its place is taken by one small file that the package's cache would hold."""
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "teacher"))
    monkeypatch.setattr("fedprompt_helpers.model.pocket._is_whole", lambda folder: True)
    (tmp_path / "teacher/pocket").mkdir(parents=True)
    (tmp_path / "teacher/pocket/model.safetensors").write_bytes(bytes(range(256)) * 40)
    pack.make(tmp_path / "class.zip", mirror, ["own"])
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "student"))
    pack.unpack(tmp_path / "class.zip", tmp_path / "class")
    assert (tmp_path / "student/pocket/model.safetensors").read_bytes() == bytes(range(256)) * 40
    assert not (tmp_path / "class/pocket").exists()


@pytest.mark.slow
def test_what_comes_from_the_hub_is_read_from_the_pack_as_it_was(tmp_path, hub_cache, monkeypatch):  # noqa: F811
    names = list(CORPORA["masakhanews"].labels)
    folder = hub_folder(tmp_path / "hub", "lin", lingala(), names=names)
    corpus = CORPORA["masakhanews"].model_copy(update={"hub": folder, "revision": None})
    monkeypatch.setitem(CORPORA, "masakhanews", corpus)
    fetched = loading.download(corpus, "lin")
    pack.make(tmp_path / "class.zip", None, ["masakhanews:lin"], backbone=False)
    pack.unpack(tmp_path / "class.zip", tmp_path / "class")
    read = loading._read(corpus, tmp_path / "class/masakhanews", "lin", only_tested=False)
    for split, columns in fetched.items():
        for name, values in columns.items():
            assert read[split].columns[name] == values, (split, name)
    with pytest.raises(FedPromptError, match="language of masakhanews"):
        pack.make(tmp_path / "other.zip", None, ["masakhanews:xx"], backbone=False)


def test_the_command_ends_with_one_line(mirror, tmp_path):
    command = [sys.executable, "-m", "book.tools.pack"]
    options = ["--data-dir", str(mirror), "--tasks", "own", "--without-backbone"]
    made = subprocess.run(
        [*command, "make", str(tmp_path / "a.zip"), *options], cwd=ROOT, capture_output=True, text=True
    )
    assert made.returncode == 0 and "6 files" in made.stdout
    failed = subprocess.run([*command, "unpack", str(mirror)], cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1 and failed.stderr.startswith("pack: ")


def test_sentences_and_questions_are_written_as_they_are_read():
    sentences = {"text": ["Amina lives in Kano", "Juma left"], "label": ["B-PER O O B-LOC", "B-PER O"]}
    read = [row.cells for row in kinds.conll("a.txt", pack.conll_of(sentences), strict=True)]
    assert read == [dict(zip(sentences, row, strict=True)) for row in zip(*sentences.values(), strict=True)]
    context = 'The "old" mill stands by the river. It was built in 1872.'
    rows = [("When?", context, "52:56"), ("Where?", context, "22:34 18:34"), ("Who?", context, "-")]
    questions: dict[str, list[str]] = dict(
        zip(("text", "text_pair", "label"), map(list, zip(*rows, strict=True)), strict=True)
    )
    read = [tuple(row.cells[name] for name in questions) for row in kinds.squad("a.json", pack.squad_of(questions))]
    assert read == rows
