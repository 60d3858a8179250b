"""Make the student's notebook of the assignment and grade submissions, with nbgrader.

python -m book.assignments.grade student             write student/NAME.ipynb anew
python -m book.assignments.grade examples [FOLDER]   grade the two example submissions, print their marks
python -m book.assignments.grade course FOLDER       a course folder for nbgrader, to grade your own class in
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).resolve().parent
NAME = "fedavg_and_a_soft_prompt"
STUDENT = HERE / "student" / f"{NAME}.ipynb"
# On a busy computer a cell takes longer than nbgrader's 30 seconds, and its output longer than 4 seconds to arrive.
PATIENCE = ("--ExecutePreprocessor.timeout=600", "--ExecutePreprocessor.iopub_timeout=60")
MISSING = "nbgrader is not installed; python -m pip install --constraint constraints.txt nbgrader"


def course(folder: Path) -> Path:
    """Lay out a course folder for nbgrader: the instructor's notebook, and from it the student's, which is returned."""
    notebook = jupytext.read(HERE / f"{NAME}.md")
    for number, cell in enumerate(notebook.cells):
        cell.id = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell-{number}")
    source = folder / "source" / NAME / f"{NAME}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, source)
    nbgrader("generate_assignment", folder, "--force")
    return folder / "release" / NAME / f"{NAME}.ipynb"


def hand_in(released: Path, answers: Path, folder: Path) -> None:
    """Fill the answers of a TOML file into the student's notebook, and lay it where nbgrader looks for submissions."""
    given = tomllib.loads(answers.read_text(encoding="utf-8"))
    notebook = nbformat.read(released, as_version=4)
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("solution"):
            cell.source = given.pop(mark["grade_id"]).strip()
    assert not given, f"{answers} answers questions that there are not: {', '.join(given)}"
    target = folder / "submitted" / answers.stem / NAME / f"{NAME}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def nbgrader(command: str, folder: Path, *options: str) -> None:
    """Run a command of nbgrader in a course folder, and stop with its own words if it fails."""
    find_alembic()
    line = [sys.executable, "-m", "nbgrader", command, NAME, "--course-dir", str(folder), *options]
    result = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{MISSING if 'No module named nbgrader' in result.stderr else result.stderr[-3000:]}")


def find_alembic() -> None:
    """Put the folder of this environment's commands first: nbgrader looks up the command alembic by its bare name."""
    commands = sysconfig.get_path("scripts")
    if not os.environ["PATH"].startswith(commands + os.pathsep):
        os.environ["PATH"] = commands + os.pathsep + os.environ["PATH"]


def marks(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Read nbgrader's gradebook: for each student and test cell, the points and the points there are."""
    from nbgrader.api import Gradebook

    find_alembic()
    found = {}
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        for submission in book.assignment_submissions(NAME):
            grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
            found[submission.student_id] = {g.name: (g.score, g.max_score) for g in grades}
    return found


def grade_examples(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Grade the two example submissions from end to end, with feedback pages, and return their marks."""
    released = course(folder)
    for answers in sorted((HERE / "examples").glob("*.toml")):
        hand_in(released, answers, folder)
    nbgrader("autograde", folder, "--create", *PATIENCE)
    nbgrader("generate_feedback", folder)
    return marks(folder)


def table(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Set marks as a table, one column a student."""
    students = sorted(found, reverse=True)
    lines = [f"{'test':<17}{'points':>7}" + "".join(f"{student:>10}" for student in students)]
    for test in found[students[0]]:
        points = found[students[0]][test][1]
        lines.append(f"{test:<17}{points:>7g}" + "".join(f"{found[student][test][0]:>10g}" for student in students))
    sums = [sum(score for score, _ in found[student].values()) for student in students]
    most = sum(points for _, points in found[students[0]].values())
    return "\n".join([*lines, f"{'together':<17}{most:>7g}" + "".join(f"{total:>10g}" for total in sums)])


def main(arguments: list[str]) -> None:
    """Run what was asked for."""
    match arguments:
        case ["student"]:
            with tempfile.TemporaryDirectory() as folder:
                STUDENT.parent.mkdir(exist_ok=True)
                STUDENT.write_bytes(course(Path(folder)).read_bytes())
            print(STUDENT)
        case ["examples"]:
            with tempfile.TemporaryDirectory() as folder:
                print(table(grade_examples(Path(folder))))
        case ["examples", folder]:
            print(table(grade_examples(Path(folder).absolute())))
        case ["course", folder]:
            print(course(Path(folder).absolute()))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
