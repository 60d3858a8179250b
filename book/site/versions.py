"""The book without solutions, for hand-ins: ``python -m book.site.versions --output FOLDER``.

A solution is a cell tagged ``solution``, what an exercise says after it, and a dropdown called *Answer* or *Solution*
in the exercises, the quiz or a page. The answer to a guess in the text of a chapter stays: the chapter goes on from it.
Notebooks and pages without them are written to a temporary source tree, and the book is built from there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from book.site.build import ROOT, pages_command

WITHOUT = ROOT / "book/_build/without-solutions"
STUB = "# Your solution"
# A dropdown or an admonition, fenced by ``` or :::, whose title says that it holds a solution.
FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|:{3,})\{(?P<kind>[\w-]+)\} *(?P<title>.*)$")
SOLVES = re.compile(r"(answers?|solutions?)\b", re.IGNORECASE)
CLASS = re.compile(r"^:class:.*\bsolution\b")
# Where the text after a solution ends: a heading, or a bold number that begins the next exercise.
NEXT = re.compile(r"^(#{1,6} |\*\*\d+\.)")
HIDDEN = re.compile(r"\s*\bOur\s+version\s+is\s+(in\s+the\s+)?hidden(\s+cell)?\.")


def without_boxes(text: str) -> str:
    """Take the boxes that hold an answer or a solution out of a text in MyST Markdown.

    Raises
    ------
    ValueError
        If such a box is not closed.
    """
    kept, lines = [], iter(text.splitlines())
    for line in lines:
        box = FENCE.match(line)
        if not box:
            kept.append(line)
            continue
        ending = re.compile(rf"^ {{0,3}}{re.escape(box['fence'])}\s*$")
        inside, closed = [], False
        for inner in lines:
            if ending.match(inner):
                closed = True
                inside.append(inner)
                break
            inside.append(inner)
        solves = box["kind"].startswith("solution") or SOLVES.match(box["title"])
        if solves or any(CLASS.match(inner) for inner in inside[:5]):
            if not closed:
                raise ValueError(f"the box {line!r} is not closed: expected a line {box['fence']!r} after it")
            continue
        # Another box: what is in it may hold a solution too.
        body = inside[:-1] if closed else inside
        kept += [line, *without_boxes("\n".join(body)).splitlines(), *(inside[-1:] if closed else [])]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept))


def after_solution(text: str) -> str:
    """Take off what is said of a solution: the text up to the next heading or exercise."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if NEXT.match(line)), len(lines))
    return "\n".join(lines[start:])


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook without its solutions.

    In the place of each solution stands one empty cell for the reader's own. All other cells and their outputs stay.
    """
    kept, section, solved, asked = [], "", False, False
    for cell in nbformat.from_dict(notebook).cells:
        if "solution" in cell.metadata.get("tags", []):
            if not solved:
                kept.append(nbformat.v4.new_code_cell(STUB, id=cell.get("id", f"stub-{len(kept)}")))
            solved = True
            continue
        if cell.cell_type == "markdown":
            if solved and section.startswith("Exercises"):
                cell["source"] = after_solution(cell.source)
            section = [section, *re.findall(r"^## (.*)$", cell.source, re.MULTILINE)][-1]
            asked |= "## Exercises" in cell.source.splitlines()
            cell["source"] = HIDDEN.sub("", without_boxes(cell.source) if asked else cell.source)
            if not cell.source.strip():
                continue
        solved = False
        kept.append(cell)
    stripped = nbformat.from_dict({key: value for key, value in notebook.items() if key != "cells"})
    stripped["cells"] = kept
    return stripped


def write_source(target: Path, root: Path = ROOT) -> None:
    """Write the source tree of the book without solutions: ``book``, ``notebooks``, and what a build reads.

    Parameters
    ----------
    target : Path
        A folder that is there and empty.
    root : Path
        The repository.
    """
    shutil.copytree(
        root / "book", target / "book", ignore=shutil.ignore_patterns("_build", "__pycache__", "*.jsonl", "unfinished")
    )
    for page in (target / "book").rglob("*.md"):
        page.write_text(without_boxes(page.read_text("utf-8")) + "\n", "utf-8")
    (target / "notebooks").mkdir()
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        nbformat.write(without_solutions(nbformat.read(path, as_version=4)), target / "notebooks" / path.name)


def build(output: Path, root: Path = ROOT) -> int:
    """Build the book without solutions into ``output/_build/html``; return the exit code of the build."""
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        write_source(Path(folder), root)
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(root)}
        command = [sys.executable, *pages_command(output.resolve())]
        return subprocess.run(command, cwd=folder, env=environment).returncode


def main() -> int:
    """Build the book without solutions; return 0 if it worked."""
    parser = argparse.ArgumentParser(prog="python -m book.site.versions", description="The book without solutions.")
    parser.add_argument("--output", type=Path, default=WITHOUT)
    given = parser.parse_args()
    code = build(given.output)
    if code:
        print(f"stopped: the build failed (exit code {code}); its message is above", file=sys.stderr)
    else:
        print(f"the book without solutions: {(given.output.resolve() / '_build/html/index.html').as_uri()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
