"""The closed questions: each chapter has them, outcomes are covered, and two parsers read what is exported."""

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pygiftparser import parser

from book.tools import questions
from book.tools.questions import bank, chapters, export, gift
from fedprompt_helpers.errors import FedPromptError

from .test_book import ROOT
from .test_teaching import outcomes

NAMES = chapters()


def test_every_chapter_has_questions():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_outcome_has_its_section_and_something_that_asks_for_it(name):
    text = (ROOT / f"notebooks/{name}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#{2,3} (.+)$", text, re.M)
    exercises = {int(number) for number in re.findall(r"^### (\d+)\. ", text.split("## Exercises")[1], re.M)}
    found = bank(name)
    assert len(found.outcomes) == len(outcomes(f"notebooks/{name}"))
    asked = {question.outcome for question in found.questions}
    for number, outcome in enumerate(found.outcomes, 1):
        assert outcome.section in headings, outcome.section
        assert exercises >= set(outcome.exercises), outcome
        assert number in asked or outcome.exercises, f"nothing asks for outcome {number}"


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_does_not_stand_out(name):
    found = bank(name).questions
    places = [[option.right for option in question.options].index(True) for question in found]
    assert len(set(places)) > 1, "the right answer stands in the same place everywhere"
    longest = [max(question.options, key=lambda option: len(option.text)).right for question in found]
    assert sum(longest) <= 0.7 * len(found), "the longest option is the right one too often"


@pytest.mark.parametrize("name", NAMES)
def test_moodle_reads_the_gift_file(name):
    read = parser.parseFile(iter(gift(name).splitlines(keepends=True)))
    assert len(read) == len(bank(name).questions)
    for question, ours in zip(read, bank(name).questions, strict=True):
        assert question.valid and question.cat == name
        assert len(question.answers.answers) == len(ours.options)
        assert [one.fraction > 0 or one.select for one in question.answers.answers] == [
            option.right for option in ours.options
        ]
        assert all(one.feedback for one in question.answers.answers)


def test_canvas_reads_the_archives(tmp_path):
    written = export(tmp_path)
    assert len(written) == 2 * len(NAMES) and all(path.exists() for path in written)
    for name in NAMES:
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
            manifest = next(one for one in archive.namelist() if one.endswith("imsmanifest.xml"))
            named = re.findall(r'href="([^"]+\.xml)"', archive.read(manifest).decode())
            assert named and set(named) <= set(archive.namelist())
            (quiz,) = (one for one in named if Path(one).name.startswith("text2qti_assessment") and "meta" not in one)
            root = ElementTree.fromstring(archive.read(quiz))
        space = {"q": root.tag.split("}")[0][1:]}
        items = root.findall(".//q:item", space)
        assert len(items) == len(bank(name).questions)
        for item, ours in zip(items, bank(name).questions, strict=True):
            choices = item.findall(".//q:response_label", space)
            assert len(choices) == len(ours.options)
            right = [
                node.text for node in item.findall(".//q:respcondition[q:setvar]/q:conditionvar/q:varequal", space)
            ]
            where = [option.right for option in ours.options].index(True)
            assert right == [choices[where].get("ident")]
            assert len(item.findall("q:itemfeedback", space)) >= len(ours.options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("right = true\n", ""), "exactly one option must have right = true"),
        (("outcome = 6", "outcome = 9"), "of outcome 9 of 6"),
        (('text = "4"', 'text = "3"'), "two options are the same"),
        (("outcome = 1\n", "outcom = 1\n"), "outcom"),
        (("[[question]]", "[[question"), "05_fedavg.toml"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(change, said, tmp_path, monkeypatch):
    text = (questions.QUESTIONS / "05_fedavg.toml").read_text(encoding="utf-8")
    (tmp_path / "05_fedavg.toml").write_text(text.replace(*change, 1), encoding="utf-8")
    monkeypatch.setattr(questions, "QUESTIONS", tmp_path)
    with pytest.raises(FedPromptError, match=re.escape(said)):
        bank("05_fedavg")
