"""The assignment: nbgrader makes the student's notebook and marks the two example submissions as it should."""

import importlib.util
import os

import nbformat
import pytest

from book.assignments import grade

needs_nbgrader = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None, reason=f"needs nbgrader; {grade.MISSING.split('; ')[1]}"
)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course folder in which the two examples are graded, and what grading found."""
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(os.environ, "OMP_NUM_THREADS", "1")  # kernels beside other tests
        return folder, grade.grade_examples(folder)


@needs_nbgrader
@pytest.mark.notebooks
def test_the_students_notebook_is_made_from_the_instructors(graded):
    made = nbformat.read(graded[0] / "release" / grade.NAME / f"{grade.NAME}.ipynb", as_version=4)
    kept = nbformat.read(grade.STUDENT, as_version=4)
    again = "python -m book.assignments.grade student writes it anew"
    assert [cell.source for cell in made.cells] == [cell.source for cell in kept.cells], again


def test_the_students_notebook_shows_no_solution_and_no_hidden_test():
    notebook = nbformat.read(grade.STUDENT, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "SOLUTION" not in text and "HIDDEN" not in text and "hidden_" not in text
    assert text.count("raise NotImplementedError()") == 6 + 1  # six questions, and the text that speaks of it
    points = [
        cell.metadata["nbgrader"]["points"] for cell in notebook.cells if "points" in cell.metadata.get("nbgrader", {})
    ]
    assert sum(points) == 20


@needs_nbgrader
@pytest.mark.notebooks
def test_both_submissions_get_the_marks_they_deserve(graded):
    folder, found = graded
    lost = {student: {t for t, (got, most) in tests.items() if got < most} for student, tests in found.items()}
    hidden = {"prompt-hidden", "count-hidden", "fedavg-hidden", "round-hidden", "guard-hidden"}
    assert lost == {"right": set(), "mistakes": hidden}
    assert [sum(got for got, _ in found[student].values()) for student in ("right", "mistakes")] == [20, 8]
    assert grade.table(found) in (grade.HERE.parent / "instructors.md").read_text(encoding="utf-8")
    pages = sorted(path.parent.parent.name for path in folder.glob(f"feedback/*/*/{grade.NAME}.html"))
    assert pages == ["mistakes", "right"]
