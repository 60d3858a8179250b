"""The pages for students and instructors say what the chapters, the package and its errors say."""

import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

import fedprompt_helpers
from fedprompt_helpers import cli
from fedprompt_helpers.errors import FedPromptError

from .test_book import ROOT, chapters

BOOK = ROOT / "book"


def page(name: str) -> str:
    return (BOOK / f"{name}.md").read_text(encoding="utf-8")


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def prose(chapter: str) -> str:
    return (ROOT / f"{chapter}.md").read_text(encoding="utf-8")


def rows(text: str, name: str) -> list[list[str]]:
    """The cells of a list-table, row by row, without its header."""
    table = text.split(f":name: {name}\n")[1].split("\n:::")[0]
    return [re.split(r"\n  - ", flat_row) for flat_row in re.split(r"^\* - ", table, flags=re.M)[2:]]


# Troubleshooting


def commands() -> list[tuple[str, str]]:
    return re.findall(r"^```text\n\$ (fedprompt .*)\n(.*)\n```$", page("troubleshooting"), re.M)


@pytest.mark.parametrize(("command", "message"), commands(), ids=[command for command, _ in commands()])
def test_the_command_gives_the_message_on_the_page(command, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine/cy").mkdir(parents=True)
    (tmp_path / "mine/cy/train.tsv").write_text("text\tmood\ny gân nesaf\tmusic\n", encoding="utf-8")
    shutil.copy(tmp_path / "mine/cy/train.tsv", tmp_path / "mine/cy/test.tsv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDPROMPT_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


def test_all_kinds_of_commands_are_tried():
    assert len(commands()) >= 8


def test_the_message_of_a_missing_backbone(tmp_path, monkeypatch):
    from fedprompt_helpers.model import pocket

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FedPromptError) as error:
        pocket._from_hub()
    assert str(error.value) in page("troubleshooting")


def test_the_python_of_the_message_is_the_one_that_is_asked_for():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    found = re.search(r"not in '(.*)'", page("troubleshooting"))[1]
    assert set(found.split(",")) == set(wanted.split(","))


@pytest.mark.parametrize("source", ["runs", "model/training", "federation/strategies"])
def test_messages_that_take_a_training_are_those_of_the_code(source):
    code = (ROOT / f"fedprompt_helpers/{source}.py").read_text(encoding="utf-8")
    code = re.sub(r'"\s*\n\s*f?"', "", code).replace("{what}", "a sound update")  # pieces of one message
    messages = re.findall(r"^```text\n(?!\$)(.*)\n```$", page("troubleshooting"), re.M)
    pattern = [re.sub(r"\\ nan\\ in\\ epoch\\ 1", r"\\ {total}\\ in\\ epoch\\ {epoch}", re.escape(x)) for x in messages]
    assert any(re.search(x, code) for x in pattern), source


# Students


def minutes(chapter: str) -> int:
    """What a chapter says of its own time."""
    text = flat(prose(chapter).split("## Time and needs")[1].split("\n## ")[0])
    if "an hour and a half" in text:
        return 90
    if found := re.search(r"About (\d+) minutes to read and (\d+) to work", text):
        return int(found[1]) + int(found[2])
    return 60 if "About an hour of" in text else 0


def test_times_are_those_of_the_chapters():
    table = rows(page("students"), "chapter-times")
    found = {re.search(r"\.\./(notebooks/\w+)\.ipynb", name)[1]: int(time) for name, time, _ in table}
    assert found == {chapter: minutes(chapter) for chapter in chapters()}


# Instructors


def outcomes(chapter: str) -> list[str]:
    section = prose(chapter).split("## What you will be able to do\n")[1].split("\n## ")[0]
    return [flat(item).strip() for item in re.split(r"^- ", section, flags=re.M)[1:]]


def test_learning_outcomes_are_the_chapters_own():
    for chapter, (name, cell) in zip(chapters(), rows(page("instructors"), "learning-outcomes"), strict=True):
        assert f"../{chapter}.ipynb" in name
        assert [flat(item).strip() for item in re.split(r"^(?:    )?- ", cell, flags=re.M)[1:]] == outcomes(chapter), (
            chapter
        )


def numbered() -> dict[int, str]:
    return {int(Path(chapter).name[:2]): chapter for chapter in chapters()}


def misconceptions() -> list[list[str]]:
    return [[flat(cell).strip() for cell in row] for row in rows(page("instructors"), "misconceptions")]


def test_every_chapter_has_wrong_guesses_and_each_a_section_that_shows_it():
    assert {int(row[0]) for row in misconceptions()} == set(numbered())
    for number, _, _, where in misconceptions():
        headings = {flat(x).strip() for x in re.findall(r"^##+ (.*)$", prose(numbered()[int(number)]), re.M)}
        for section in re.findall(r"\*([^*]+)\*", where):
            assert section in headings, f"chapter {number}: {section}"


def test_numbers_of_the_wrong_guesses_stand_in_the_chapters():
    for number, guess, shown, _ in misconceptions():
        notebook = nbformat.read(ROOT / f"{numbered()[int(number)]}.ipynb", as_version=4)
        stored = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                stored += [output.get("text", ""), str(output.get("data", {}).get("text/plain", ""))]
        text = "\n".join(stored)
        for value in re.findall(r"\d[\d,]*\.\d+|\d{1,3},\d{3}|\d+(?=%)", f"{guess} {shown}"):
            assert value in text, f"chapter {number}: {value}"


def test_sections_of_the_one_day_plan_are_there():
    text = page("instructors").split("### One day")[1].split("## Learning outcomes")[0]
    headings = {flat(x).strip() for chapter in chapters() for x in re.findall(r"^##+ (.*)$", prose(chapter), re.M)}
    sections = re.findall(r"\*([A-Z][^*]+)\*", text)
    assert len(sections) > 10
    assert set(sections) <= headings


# Cite


def test_the_version_is_the_same_wherever_it_is_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "fedprompt_helpers.__version__"}
    assert citation["version"] == fedprompt_helpers.__version__
    assert f"version = {{{fedprompt_helpers.__version__}}}" in page("cite")
    assert citation["license"] == project["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [x["name"] for x in project["project"]["authors"]]


def test_titles_and_the_paper_are_the_same_wherever_they_are_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = re.search(r"@inproceedings\{zhao2024breaking,.*?\n\}", (BOOK / "references.bib").read_text(), re.S)[0]
    assert citation["title"] == yaml.safe_load((BOOK / "_config.yml").read_text())["title"]
    assert f"title   = {{{citation['title']}}}" in page("cite")
    assert paper in page("cite")
    (reference,) = citation["references"]
    assert f"{{{reference['title']}}}" in paper and f"{{{reference['year']}}}" in paper
    names = " and ".join(f"{x['family-names']}, {x['given-names']}" for x in reference["authors"])
    assert f"author    = {{{names}}}" in paper


def test_the_citation_file_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["type"] in ("software", "dataset")
    assert all(isinstance(citation[name], str) for name in ("version", "license", "title", "message"))


# Your own language


def shown(words: str) -> str:
    """What the page shows below a command that begins so."""
    return re.search(rf"^```text\n\$ {re.escape(words)}[^\n]*\n(.*?)^```$", page("your_language"), re.M | re.S)[1]


def test_the_page_on_your_own_language_shows_what_its_commands_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    exec(re.search(r"```python\n(.*?)```", page("your_language"), re.S)[1], {})
    first, second = re.findall(r"^\$ (fedprompt check .*)$", page("your_language"), re.M)
    for command, code in ((first, 2), (second, 0)):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        said = capsys.readouterr()
        assert leaving.value.code == code
        assert (said.out or said.err) == shown(command)


@pytest.mark.slow
def test_its_model_is_as_good_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", page("your_language"), re.S)[1], {})
    for command in re.findall(r"^\$ (fedprompt (?:run|predict) .*)$", page("your_language"), re.M):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        assert leaving.value.code == 0
    labels = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert labels == [line.split("\t")[0] for line in shown("fedprompt predict").splitlines()]
    (path,) = Path("runs").glob("*.json")
    record = fedprompt_helpers.load_record(path)
    told = re.search(r"accuracy of (\.\d+) in Welsh and (\.\d+)", flat(page("your_language")))
    assert abs(record["test"]["cy"]["accuracy"] - float(told[1])) < 0.06
    assert abs(record["test"]["ga"]["accuracy"] - float(told[2])) < 0.06
