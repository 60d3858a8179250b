"""The first cell of every chapter installs what Google Colab lacks: ``python -m notebooks.first_cell OWNER/NAME``.

Here is its only source. The command writes it into ``NAME.md`` and ``NAME.ipynb`` of each chapter, above its first code
cell, or replaces the one that is there. Nothing is executed: the cell does nothing outside Colab, so the stored outputs
stay right, and only the numbers of the cells below move up by one.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
TAG = "first-cell"
TAGS = [TAG, "remove-cell"]  # not part of the rendered page
SOURCE = """import sys

if "google.colab" in sys.modules:  # Google Colab lacks the book's package; anywhere else this does nothing
    !git clone --quiet --depth 1 https://github.com/{repository} /content/book
    # the book's versions of everything but Colab's own notebook programs
    !grep -viE "{theirs}" /content/book/constraints.txt > /content/constraints.txt
    %pip install --quiet --constraint /content/constraints.txt --editable "/content/book[chapters]"
    sys.path.insert(0, "/content/book")
    %cd -q /content/book/notebooks"""

THEIRS = "^(ipy|jupyter|notebook|nb|widgetsnb|tornado|traitlets|pyzmq|prompt)"


def source(repository: str) -> str:
    """Write the cell for a repository, ``OWNER/NAME``.

    Raises
    ------
    ValueError
        If it is not written so.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"the repository is {repository!r}, expected OWNER/NAME")
    return SOURCE.format(repository=repository, theirs=THEIRS)


def with_first_cell(notebook: NotebookNode, repository: str) -> NotebookNode:
    """Return a copy of a notebook with the cell above its first code cell, once, whatever was there before."""
    copy = nbformat.from_dict(notebook)
    cells = [cell for cell in copy.cells if TAG not in cell.metadata.get("tags", [])]
    place = next(number for number, cell in enumerate(cells) if cell.cell_type == "code")
    cells.insert(place, nbformat.v4.new_code_cell(source(repository), metadata={"tags": TAGS}))
    copy.cells = cells
    return copy


def renumber(notebook: NotebookNode) -> None:
    """Number cells and outputs as an execution from top to bottom does (see `notebooks.execute`)."""
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if cell.cell_type == "code":
            count += 1
            cell["execution_count"] = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output["execution_count"] = count


def write(path: Path, repository: str) -> None:
    """Put the cell into a chapter's source and into its executed notebook.

    Parameters
    ----------
    path : Path
        ``NAME.md``, with ``NAME.ipynb`` beside it.
    repository : str
        ``OWNER/NAME``.
    """
    jupytext.write(with_first_cell(jupytext.read(path), repository), path, fmt="md:myst")
    executed = with_first_cell(nbformat.read(path.with_suffix(".ipynb"), as_version=4), repository)
    renumber(executed)
    nbformat.write(executed, path.with_suffix(".ipynb"))


def main() -> None:
    """Write the cell into every chapter."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m notebooks.first_cell OWNER/NAME")
    for path in sorted(HERE.glob("[0-9]*.md")):
        write(path, sys.argv[1])
        print(path.stem)


if __name__ == "__main__":
    main()
