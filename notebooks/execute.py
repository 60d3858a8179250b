"""Execute chapters from their MyST sources and store the outputs: ``python -m notebooks.execute [NAME ...]``.

Each chapter is written as ``NAME.md`` (jupytext MyST, easy to review) and committed executed as ``NAME.ipynb``.
"""

import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
VIEW = "application/vnd.jupyter.widget-view+json"  # names a model in a kernel that is gone, by a random number


def execute(source: Path) -> Path:
    """Execute one chapter from top to bottom in a fresh kernel; nothing is written if a cell fails."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(HERE)}},
    ).execute()
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        output.get("data", {}).pop(VIEW, None)  # what is stored is the page's view of a widget
    version = notebook.metadata.get("language_info", {})
    notebook.metadata["language_info"] = {key: version[key] for key in ("name",) if key in version}
    target = source.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    return target


def main() -> None:
    """Execute the named chapters, or all."""
    os.environ.setdefault("PYTHONHASHSEED", "0")
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("[0-9]*.md"))
    for name in names:
        print(f"executing {name}", flush=True)
        print(execute(HERE / f"{Path(name).stem}.md").name, flush=True)


if __name__ == "__main__":
    main()
