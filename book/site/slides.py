"""Slides of each chapter, made from the notebooks: ``python -m book.site.slides [CHAPTER ...] [-o FOLDER]``.

`book.site.slides_plan` says what becomes a slide; nbconvert makes a reveal.js page of it.
"""

import argparse
import html
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from traitlets.config import Config

from book.site.build import ROOT
from book.site.slides_plan import plan, sections
from book.site.vendor import NotVendored, put_mathjax, vendored

HERE = Path(__file__).resolve().parent
NOTEBOOKS = ROOT / "notebooks"
REVEAL_FILES = ["reveal.js", "reveal.css", "reset.css", "theme/white.css", "plugin/notes.js"]


def copy_scripts(target: Path) -> None:
    """Copy what the slides load of reveal.js and MathJax, with their licences, into ``target/vendor``."""
    reveal = vendored("reveal.js")
    for name in ["LICENSE", *(f"dist/{name}" for name in REVEAL_FILES)]:
        file = target / "vendor/reveal" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(reveal / name, file)
    put_mathjax(target / "vendor/mathjax")


def deck(notebook: NotebookNode) -> str:
    """Make the slides of a chapter: one HTML page that looks for ``vendor/`` beside it."""
    slides = nbformat.v4.new_notebook(cells=plan(notebook), metadata={"title": sections(notebook)[0].title})
    for number, cell in enumerate(slides.cells):
        cell["id"] = f"slide-{number:03d}"  # the same page from the same chapter
    settings = Config()
    settings.SlidesExporter.extra_template_basedirs = [str(HERE)]
    settings.SlidesExporter.template_name = "slides_template"
    settings.SlidesExporter.exclude_input = True
    settings.SlidesExporter.exclude_output_prompt = True
    settings.SlidesExporter.reveal_theme = "white"
    settings.SlidesExporter.reveal_url_prefix = "vendor/reveal"
    page, _ = SlidesExporter(config=settings).from_notebook_node(slides)
    return page


def write_slides(names: list[str], target: Path) -> list[Path]:
    """Write the slides of the named chapters, or of all, and an ``index.html`` that leads to them.

    Raises
    ------
    FileNotFoundError
        If there is no such chapter.
    NotVendored
        If reveal.js or MathJax is neither in the cache nor to be had.
    """
    chapters = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    known = [path.stem for path in chapters]
    for name in names:
        if name not in known:
            raise FileNotFoundError(f"there is no chapter {name!r}; there are {', '.join(known)}")
    copy_scripts(target)
    written, lines = [], []
    for path in chapters:
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        written.append(target / f"{path.stem}.html")
        written[-1].write_text(deck(notebook), "utf-8")
        lines.append(f'<li><a href="{path.stem}.html">{html.escape(sections(notebook)[0].title)}</a></li>')
    index = "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>Slides</title><h1>Slides</h1>"
    keys = "<p>Arrow keys move, down leads into a section, S opens the speaker's notes, Esc shows all slides.</p>"
    (target / "index.html").write_text(f"{index}{keys}<ol>{''.join(lines)}</ol></html>", "utf-8")
    return written


def main() -> int:
    """Write the slides; return 0 if it worked."""
    parser = argparse.ArgumentParser(prog="python -m book.site.slides", description="Make slides of the chapters.")
    parser.add_argument("chapters", nargs="*", help="names such as 05_fedavg; all if none is given")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "book/_build/slides")
    given = parser.parse_args()
    try:
        written = write_slides([Path(name).stem for name in given.chapters], given.output)
    except (FileNotFoundError, NotVendored, ValueError) as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1
    print(f"{len(written)} sets of slides: {(given.output / 'index.html').resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
