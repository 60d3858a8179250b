"""Execute chapters from their MyST sources and store the outputs: ``python -m notebooks.execute [NAME ...]``.

Each chapter is written as ``NAME.md`` (jupytext MyST, easy to review) and committed executed as ``NAME.ipynb``.
With ``--text`` nothing runs: new prose and new tags are taken over, where no line of code has changed.
"""

import argparse
import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
FOLDS = {"guess": ("hide-output", "Your guess first"), "check": ("hide-input", "Check"), "solution": ("hide-cell", "")}
HIDDEN = {"hide-input": ("source_hidden",), "hide-output": ("outputs_hidden",)}
HIDDEN["hide-cell"] = ("source_hidden", "outputs_hidden")
VIEW = "application/vnd.jupyter.widget-view+json"  # names a model in a kernel that is gone, by a random number


def fold(cell: NotebookNode) -> None:
    """Let what a tag folds on the page be folded in JupyterLab too, and say what is under a fold."""
    cell.metadata.pop("jupyter", None)
    tags = cell.metadata.get("tags", [])
    if cell.cell_type == "markdown":
        if "{dropdown}" in cell.source.split("\n")[0]:
            cell.metadata["jupyter"] = {"source_hidden": True}
        return
    for tag in [tag for tag in tags if tag in FOLDS]:
        hides, prompt = FOLDS[tag]
        tags = cell.metadata["tags"] = list(dict.fromkeys([*tags, hides]))
        if prompt:
            mystnb = cell.metadata.setdefault("mystnb", {})
            mystnb |= {"code_prompt_show": prompt, "code_prompt_hide": prompt}
    if names := sorted({name for tag in tags for name in HIDDEN.get(tag, ())}):
        cell.metadata["jupyter"] = dict.fromkeys(names, True)


def read(source: Path) -> NotebookNode:
    """Read a chapter's source, folded, its cells numbered."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        fold(cell)
    return notebook


def execute(source: Path) -> Path:
    """Execute one chapter from top to bottom in a fresh kernel; nothing is written if a cell fails."""
    notebook = read(source)
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


def refresh(source: Path) -> Path:
    """Take over prose and tags from a chapter's source and keep the stored outputs.

    Raises
    ------
    ValueError
        If code has changed, so that the chapter must be executed.
    """
    target, notebook = source.with_suffix(".ipynb"), read(source)
    stored = nbformat.read(target, as_version=4)
    new, old = ([cell for cell in each.cells if cell.cell_type == "code"] for each in (notebook, stored))
    if [cell.source for cell in new] != [cell.source for cell in old]:
        raise ValueError(f"the code of {source.name} has changed: execute it, without --text")
    for cell, had in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = had.outputs, had.execution_count
    notebook.metadata["language_info"] = stored.metadata.language_info
    nbformat.write(notebook, target)
    return target


def main() -> None:
    """Execute the named chapters, or all."""
    os.environ.setdefault("PYTHONHASHSEED", "0")
    parser = argparse.ArgumentParser(prog="python -m notebooks.execute", description="Execute chapters.")
    parser.add_argument("names", nargs="*", help="names such as 05_fedavg; all if none is given")
    parser.add_argument("--text", action="store_true", help="take over prose and tags only; nothing runs")
    given = parser.parse_args()
    for name in given.names or sorted(path.stem for path in HERE.glob("[0-9]*.md")):
        source = HERE / f"{Path(name).stem}.md"
        print(f"executing {source.stem}" if not given.text else f"text of {source.stem}", flush=True)
        try:
            print((refresh if given.text else execute)(source).name, flush=True)
        except ValueError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
