"""Which parts of a chapter become slides, by one rule for all chapters.

1. The title with the first paragraph.
2. *What you will be able to do*, *Summary*: heading and list.
3. Every other section but those in `SKIPPED`: the heading with its first sentences, its formula and its first picture.
4. Below it, one slide for each further picture and each prediction. After a prediction comes what the next cell showed,
   with the first sentences about it.
5. *Quiz*: one slide a question; the answer appears on the next key.

All prose of a section goes into the speaker's notes. Solutions, code and widgets are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

SKIPPED = ("Time and needs", "Exercises", "Further reading")
WHOLE = ("What you will be able to do", "Summary")
LONGEST = 45  # words of prose on a slide
LIST = 100  # words of a list on a slide
ROWS, COLUMNS, LINES = 10, 8, 8  # larger tables and longer texts stay in the chapter
PREDICTION = re.compile(r"\bguess\b|\bpredict|before you (run|read|look|press|play|move)", re.IGNORECASE)
QUESTION = re.compile(r"^\*\*\d+\.\*\*")
ANSWER = re.compile(r"^(?:`{3,}|:{3,})\{dropdown\} Answer[^\n]*\n(.*?)\n(?:`{3,}|:{3,})$", re.DOTALL)
ROLE = re.compile(r"\{[\w:-]+\}`([^`<]+?)(?:\s*<[^`>]*>)?`")
CITATION = re.compile(r"\s*\{cite[\w:]*\}`[^`]*`")
LOCAL_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


@dataclass
class Section:
    """A heading of the first or second level, and what stands below it: paragraphs and code cells in order."""

    title: str
    level: int
    parts: list[str | NotebookNode] = field(default_factory=list)

    @property
    def prose(self) -> list[str]:
        """The paragraphs."""
        return [part for part in self.parts if isinstance(part, str)]


def plain(text: str) -> str:
    """Write MyST as the Markdown that nbconvert reads: roles become their text, citations go."""
    return LOCAL_LINK.sub(r"\1", ROLE.sub(r"\1", CITATION.sub("", text)))


def paragraphs(text: str) -> Iterator[str]:
    """Cut a text at blank lines, but not inside a fence or a formula."""
    block, fence = [], ""
    for line in text.splitlines():
        opening = re.match(r"`{3,}|:{3,}", line)
        if opening and not fence:
            fence = opening[0]
        elif fence and line.strip() == fence:
            fence = ""
        if line.strip() or fence:
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def unfolded(text: str) -> str:
    """Take a text out of the fold that is all of its cell, such as the answer to a guess."""
    whole = re.fullmatch(r"(`{3,}|:{3,})\{dropdown\}[^\n]*\n(.*)\n\1\s*", text, re.DOTALL)
    return whole[2] if whole else text


def sections(notebook: NotebookNode) -> list[Section]:
    """Cut a chapter at its headings of the first two levels."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if "solution" not in cell.metadata.get("tags", []) and found:
                found[-1].parts.append(cell)
            continue
        for text in paragraphs(unfolded(cell.source)):
            heading = re.match(r"^(#{1,2}) (.*)$", text)
            if heading:
                found.append(Section(plain(heading[2]), len(heading[1])))
            elif found and not text.startswith("#"):
                found[-1].parts.append(text)
    return found


def first_sentences(texts: list[str], longest: int = LONGEST) -> str:
    """Take whole sentences from the beginning: at least one, and no more than so many words."""
    prose = next((text for text in texts if not re.match(r"[`:|$>*\-\d]", text)), "")
    taken = []
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z*`{\[])", plain(prose)):
        if taken and len(" ".join([*taken, sentence]).split()) > longest:
            break
        taken.append(sentence)
    return " ".join(taken)


def shown(cell: NotebookNode, pictures_only: bool = False) -> NotebookNode | None:
    """Return the cell with the one output that fits on a slide, or nothing."""
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            return slide_of(cell, {**output, "data": {"image/png": data["image/png"]}})
        if pictures_only:
            continue
        html = data.get("text/html", "")
        if "<table" in html and "<script" not in html:
            columns = max(row.count("</th>") + row.count("</td>") for row in html.split("</tr>"))
            if html.count("<tr") <= ROWS + 1 and columns <= COLUMNS:
                return slide_of(cell, {**output, "data": {"text/html": html}})
        text = output.get("text", "") or ("" if html else data.get("text/plain", ""))
        if text and len(text.splitlines()) <= LINES:
            return slide_of(cell, output)
    return None


def slide_of(cell: NotebookNode, output: dict) -> NotebookNode:
    """Make a code cell of one output; a picture keeps its description."""
    output = NotebookNode(output)
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
    if alt and "image/png" in output.get("data", {}):
        output["metadata"] = {"image/png": {"alt": " ".join(alt.split())}}
    return new_code_cell("", outputs=[output])


def kind(cell: NotebookNode, name: str) -> NotebookNode:
    """Say what a cell is to nbconvert: slide, subslide, fragment, notes or ``-`` (goes on)."""
    cell.metadata["slideshow"] = {"slide_type": name}
    return cell


def text_slide(text: str, name: str) -> NotebookNode:
    """Make a cell of text."""
    return kind(new_markdown_cell(text), name)


def section_slides(section: Section) -> list[NotebookNode]:
    """Make the slides of an ordinary section.

    On the way: is there `room` on the first slide, is an outcome `awaited` or just `told`, what was said `before`.
    """
    slides = [text_slide(f"## {section.title}\n\n{first_sentences(section.prose)}", "slide")]
    room, awaited, told, before = True, False, False, ""
    for part in section.parts:
        if isinstance(part, str):
            if PREDICTION.search(part) and "?" in part:
                slides.append(text_slide(f"## Your prediction\n\n{plain(part)}", "subslide"))
                room, awaited = False, True
            elif part.startswith("$$") and room:
                slides.append(text_slide(plain(part), "-"))
            elif told:
                slides.append(text_slide(first_sentences([part]), "-"))
            before, told = part, False
            continue
        cell = shown(part, pictures_only=not awaited)
        if cell is None:
            continue
        if awaited:
            slides.append(text_slide("## What came out", "subslide"))
        elif not room:
            slides.append(text_slide(first_sentences([before], 25), "subslide"))
        slides.append(kind(cell, "-"))
        room, told, awaited = False, awaited, False
    return slides


def list_slides(section: Section) -> list[NotebookNode]:
    """Put the points of a section's lists on as many slides as they need."""
    lists = "\n".join(text for text in section.prose if re.match(r"[-*] ", text))
    pages = [[]]
    for point in re.split(r"\n(?=[-*] )", plain(lists)):
        if pages[-1] and len(" ".join([*pages[-1], point]).split()) > LIST:
            pages.append([])
        pages[-1].append(point)
    texts = [f"## {section.title}\n\n" + "\n".join(points) for points in pages]
    return [text_slide(text, "subslide" if number else "slide") for number, text in enumerate(texts)]


def quiz_slides(section: Section) -> list[NotebookNode]:
    """Make one slide a question, its answer hidden until the next key."""
    slides = []
    for text in section.prose:
        answer = ANSWER.match(text)
        if QUESTION.match(text):
            slides.append(text_slide(f"## Quiz\n\n{plain(text)}", "subslide" if slides else "slide"))
        elif answer and slides:
            slides.append(text_slide(f"**Answer.** {plain(answer[1])}", "fragment"))
        elif slides and slides[-1].metadata["slideshow"]["slide_type"] != "fragment":
            slides[-1]["source"] += f"\n\n{plain(text)}"
    return slides


def plan(notebook: NotebookNode) -> list[NotebookNode]:
    """Choose the slides of a chapter by the rule above.

    Returns
    -------
    list of NotebookNode
        Cells with ``slideshow`` metadata, for nbconvert's reveal.js export.
    """
    slides = []
    for section in sections(notebook):
        if section.title in SKIPPED:
            continue
        if section.level == 1:
            slides.append(text_slide(f"# {section.title}\n\n{first_sentences(section.prose)}", "slide"))
        elif section.title in WHOLE:
            slides += list_slides(section)
        elif section.title == "Quiz":
            slides += quiz_slides(section)
        else:
            slides += section_slides(section)
            notes = "\n\n".join(plain(text) for text in section.prose if not text.startswith(("`", ":")))
            slides.append(text_slide(notes, "notes"))
    return slides
