"""The assignments: nbgrader makes the students' notebooks and marks a right, a tempting and a pasted submission."""

import importlib.util
import os

import nbformat
import pytest

from book.assignments import grade, own

needs_nbgrader = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None, reason=f"needs nbgrader; {grade.MISSING.split('; ')[1]}"
)
LABELS = ["TurnOn", "TurnOff", "GetWeather"]
TEXTS = [
    "please wake the reading lamp upstairs", "the porch is dark, do something", "get the kettle going",
    "no more light in here", "kill the old radiator", "let the attic fan rest",
    "is a storm on its way", "do I need gloves today", "will the lake freeze over",
    "hot or cold out there", "will my washing dry outside", "is it a day for the beach",
]  # fmt: skip
MINE = [(text, LABELS[min(number // 3, 2)]) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module", params=grade.NAMES)
def graded(request, tmp_path_factory):
    """A course folder in which the examples of one assignment are graded, its name, and what grading found."""
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(os.environ, "OMP_NUM_THREADS", "1")  # kernels beside other tests
        patched.setitem(os.environ, "PYTHONPATH", str(own.ROOT))
        return folder, request.param, grade.grade_examples(folder, request.param)


@needs_nbgrader
@pytest.mark.notebooks
def test_the_submissions_get_the_marks_they_deserve(graded):
    folder, name, found = graded
    sums = {example: sum(mark.points or 0 for mark in cells.values()) for example, cells in found.items()}
    assert sums["right"] == 17 and found["right"]["reason"].points is None, "17 points, and 3 for a person to give"
    wrong = {cell for cell, (got, most) in found["mistakes"].items() if got is not None and got < most}
    assert sums["mistakes"] <= 10 and not any(cell.endswith("-open") for cell in wrong), "visible tests find nothing"
    assert sums["pasted"] <= 5, "pages and solutions of the book are no answer"
    lost = {cell for cell, (got, most) in found["pasted"].items() if got is not None and got < most}
    assert {"data-open", "data-hidden", "reason-open"} <= lost
    assert {cell for cell in found["right"] if cell.endswith("-own")} <= lost, "a number of the book is nobody's own"
    assert grade.table(found) in (grade.HERE.parent / "assignments.md").read_text(encoding="utf-8")
    assert len(list(folder.glob(f"feedback/*/{name}/{name}.html"))) == 3
    made = nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
    kept = nbformat.read(grade.student_notebook(name), as_version=4)
    again = "python -m book.assignments.grade student writes it anew"
    assert [cell.source for cell in made.cells] == [cell.source for cell in kept.cells], again


@pytest.mark.parametrize("name", grade.NAMES)
def test_the_students_notebook_shows_no_solution_and_no_hidden_test(name):
    notebook = nbformat.read(grade.student_notebook(name), as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "SOLUTION" not in text and "HIDDEN" not in text and "hidden_" not in text
    asked = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert all("raise NotImplementedError()" in cell.source for cell in asked) and len(asked) >= 6
    points = [cell.metadata["nbgrader"].get("points", 0) for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert sum(points) == 20
    assert "**Time**" in text and "**Points** 20: a program gives 17, and a person 3." in text
    assert all(cell.metadata["nbgrader"]["locked"] for cell in notebook.cells if "own.check" in cell.source)


def test_sentences_of_ones_own_pass():
    own.check_sentences(1, MINE, LABELS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda mine: mine[:11], "11 sentences; 12"),
        (lambda mine: [*mine[:11], ("Let the attic fan REST!", "TurnOff")], "there twice"),
        (lambda mine: [*mine[:11], ("go on", "TurnOff")], "too short"),
        (lambda mine: [*mine[:11], ("is it a day for it", "Sing")], "unknown labels"),
        (lambda mine: [(text, "TurnOn") for text, _ in mine], "1 labels"),
        (lambda mine: [*mine[:11], ("Lamps on -- in this room!", "TurnOn")], "stands in the book"),
        (lambda mine: [*mine[:11], ("its own model gets the same prompt, as before", "TurnOn")], None),
        (lambda mine: [*mine[:11], ("Every sentence gets the same prompt", "TurnOn")], "stands in the book"),
        (lambda mine: [*mine[:11], ("accendi la lampada sopra il lavello", "TurnOn")], "stands in the book"),
    ],
)
def test_what_is_not_ones_own_is_named(change, said):
    if said is None:
        return own.check_sentences(1, change(MINE), LABELS)
    with pytest.raises(AssertionError, match=said):
        own.check_sentences(1, change(MINE), LABELS)


def test_an_example_is_its_own():
    own.check_sentences(20260117, [*MINE[:11], ("accendi la lampada sopra il lavello", "TurnOn")], LABELS)


def test_the_number_is_that_of_the_folder(tmp_path, monkeypatch):
    (tmp_path / "4711" / "assignment").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "4711" / "assignment")
    own.check_number(4711)
    with pytest.raises(AssertionError, match="the number is 12"):
        own.check_number(12)


REASON = (
    "My score is 0.42 and the floor 17 percent, which is three of my sentences more than a parrot would get. I do not "
    "trust it, because I wrote all of them on one evening and they resemble one another; ten people from my village "
    "would have spoken otherwise, and would have left out the polite words."
)


def test_a_reason_names_ones_own_numbers():
    own.check_reason(REASON, {"score": 5 / 12, "floor": 1 / 6})
    with pytest.raises(AssertionError, match="your own score"):
        own.check_reason(REASON, {"score": 0.5})
    with pytest.raises(AssertionError, match="say why in 40"):
        own.check_reason("My score is 0.42.", {"score": 5 / 12})


def test_a_reason_is_no_quotation():
    taken = "Look at `forward`: it takes no text. Every sentence gets the same prompt, as before."
    with pytest.raises(AssertionError, match="stand in the book"):
        own.check_reason(f"{REASON} {taken}", {"score": 5 / 12})


def test_scripts_without_capitals_keep_their_marks():
    assert own.plain("हिन्दी में, बोलो!") == "हिन्दी में बोलो"
    assert own.plain("Ọjọ́ àìkú") == "ọjọ́ àìkú"
