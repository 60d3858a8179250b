"""Make the students' notebooks of the assignments and grade submissions, with nbgrader.

python -m book.assignments.grade student                  write student/NAME.ipynb of each assignment anew
python -m book.assignments.grade examples [NAME ...]      grade the example submissions, print their marks
python -m book.assignments.grade course FOLDER [NAME ...] a course folder for nbgrader, to grade your own class in
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat

HERE = Path(__file__).resolve().parent
NAMES = ("soft_prompt_and_p_tuning", "partitions_and_fedavg", "a_flower_app", "results_and_a_bill")
# On a busy computer a cell takes longer than nbgrader's 30 seconds, and its output longer than 4 seconds to arrive.
PATIENCE = ("--ExecutePreprocessor.timeout=600", "--ExecutePreprocessor.iopub_timeout=60")
MISSING = "nbgrader is not installed; python -m pip install --constraint constraints.txt nbgrader"


class Mark(NamedTuple):
    """The points for one cell; `points` is None as long as nobody has read what only a person can judge."""

    points: float | None
    most: float


def student_notebook(name: str) -> Path:
    """Say where a student's notebook is kept."""
    return HERE / "student" / f"{name}.ipynb"


def course(folder: Path, name: str) -> Path:
    """Lay out a course folder for nbgrader: the instructor's notebook, and from it the student's, which is returned."""
    notebook = jupytext.read(HERE / f"{name}.md")
    for number, cell in enumerate(notebook.cells):
        cell.id = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell-{number}")
    source = folder / "source" / name / f"{name}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, source)
    nbgrader("generate_assignment", name, folder, "--force")
    return folder / "release" / name / f"{name}.ipynb"


def hand_in(folder: Path, name: str, answers: Path) -> str:
    """Lay an example submission where nbgrader looks for it, and return its student's number.

    What the TOML file does not answer is taken from the instructor's version, or left as it was, as `rest` says.
    """
    given = tomllib.loads(answers.read_text(encoding="utf-8"))
    student, rest = given.pop("student"), given.pop("rest")
    solved = {c.id: c.source for c in nbformat.read(folder / "source" / name / f"{name}.ipynb", as_version=4).cells}
    notebook = nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("solution"):
            before = solved[mark["grade_id"]] if rest == "solution" else cell.source
            cell.source = given.pop(mark["grade_id"], before).strip()
    assert not given, f"{answers} answers questions that there are not: {', '.join(given)}"
    target = folder / "submitted" / student / name / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return student


def nbgrader(command: str, name: str, folder: Path, *options: str) -> None:
    """Run a command of nbgrader in a course folder, and stop with its own words if it fails."""
    find_alembic()
    line = [sys.executable, "-m", "nbgrader", command, name, "--course-dir", str(folder), *options]
    result = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{MISSING if 'No module named nbgrader' in result.stderr else result.stderr[-3000:]}")


def find_alembic() -> None:
    """Put the folder of this environment's commands first: nbgrader looks up the command alembic by its bare name."""
    commands = sysconfig.get_path("scripts")
    if not os.environ["PATH"].startswith(commands + os.pathsep):
        os.environ["PATH"] = commands + os.pathsep + os.environ["PATH"]


def marks(folder: Path, name: str) -> dict[str, dict[str, Mark]]:
    """Read nbgrader's gradebook: for each student and graded cell, the points and the points there are."""
    from nbgrader.api import Gradebook

    find_alembic()
    found = {}
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        for submission in book.assignment_submissions(name):
            grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
            found[submission.student_id] = {
                g.name: Mark(None if g.needs_manual_grade else g.score, g.max_score) for g in grades
            }
    return found


def grade_examples(folder: Path, name: str) -> dict[str, dict[str, Mark]]:
    """Grade the example submissions of an assignment from end to end, with feedback pages; marks by example."""
    course(folder, name)
    examples = sorted((HERE / "examples" / name).glob("*.toml"))
    students = {hand_in(folder, name, answers): answers.stem for answers in examples}
    nbgrader("autograde", name, folder, "--create", *PATIENCE)
    nbgrader("generate_feedback", name, folder)
    found = marks(folder, name)
    return {students[number]: found[number] for number in sorted(found, key=lambda n: students[n], reverse=True)}


def table(found: dict[str, dict[str, Mark]]) -> str:
    """Set marks as a table, one column a submission; what a person has to mark is a question mark."""
    lines = [f"{'cell':<18}{'points':>7}" + "".join(f"{example:>10}" for example in found)]
    first = next(iter(found.values()))
    for cell, mark in first.items():
        got = (tests[cell].points for tests in found.values())
        lines.append(f"{cell:<18}{mark.most:>7g}" + "".join(f"{'?' if p is None else f'{p:g}':>10}" for p in got))
    sums = [sum(mark.points or 0 for mark in tests.values()) for tests in found.values()]
    most = sum(mark.most for mark in first.values())
    return "\n".join([*lines, f"{'so far':<18}{most:>7g}" + "".join(f"{total:>10g}" for total in sums)])


def chosen(names: list[str]) -> list[str]:
    """Give the assignments that are named, or all; stop at a name that there is not."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.exit(f"there is no assignment {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return names or list(NAMES)


def main(arguments: list[str]) -> None:
    """Run what was asked for."""
    match arguments:
        case ["student"]:
            with tempfile.TemporaryDirectory() as folder:
                for name in NAMES:
                    student_notebook(name).parent.mkdir(exist_ok=True)
                    student_notebook(name).write_bytes(course(Path(folder), name).read_bytes())
                    print(student_notebook(name))
        case ["examples", *names]:
            with tempfile.TemporaryDirectory() as folder:
                for name in chosen(names):
                    print(f"{name}\n{table(grade_examples(Path(folder), name))}\n")
        case ["course", folder, *names]:
            for name in chosen(names):
                print(course(Path(folder).absolute(), name))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
