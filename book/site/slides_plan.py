"""Which parts of a chapter become slides, by one rule for all chapters.

1. The title with the first paragraph.
2. *What you will be able to do*, *Summary*: heading and list.
3. Every other section but those in `SKIPPED`: the heading with its first sentences, and the first thing to look at: a
   formula, short code with what it printed, a table or a picture. A section with nothing to look at has no slide of its
   own; its prose goes into the notes of the slide before.
4. Below it, one slide for each further picture and each prediction, with the code that is about to run. After a
   prediction comes what it showed, with the first sentences about it.
5. *Quiz*: the first three questions, a slide each; the answer appears on the next key.

All prose of a section goes into the speaker's notes. Solutions, checks, code that only draws, and widgets are left out.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

SKIPPED = ("Time and needs", "Exercises", "Further reading")
WHOLE = ("What you will be able to do", "Summary")
LONGEST = 45  # words of prose on a slide
LIST = 140  # words of a list on a slide
ROWS, COLUMNS, LINES = 10, 8, 8  # larger tables and longer texts stay in the chapter
QUESTIONS = 3  # of a quiz
CELL = 50  # characters of a table's longest cell
CODE = 10  # lines of code on a slide
WIDEST = 100  # characters of its longest line, and of a printed one: a number never breaks
ROOM = 11  # lines of code and of what it printed on one slide
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
        table = data.get("text/html", "")
        if "<table" in table and "<script" not in table:
            columns = max(row.count("</th>") + row.count("</td>") for row in table.split("</tr>"))
            longest = max(map(len, re.findall(r"<t[dh][^>]*>([^<]*)<", table)), default=0)
            if table.count("<tr") <= ROWS + 1 and columns <= COLUMNS and longest <= CELL:
                return slide_of(cell, {**output, "data": {"text/html": table}})
        if (text := printed(output)) and len(text.splitlines()) <= LINES:
            return new_markdown_cell(lines_of(text))
    return None


def printed(output: dict) -> str:
    """Return what an output says in plain lines, if it is nothing else and its lines fit."""
    data = output.get("data", {})
    text = output.get("text", "") or ("" if "text/html" in data or "image/png" in data else data.get("text/plain", ""))
    return "" if max(map(len, text.splitlines()), default=0) > WIDEST else text.rstrip()


def lines_of(text: str) -> str:
    """Write printed lines in letters so large that the longest fits: it does not break."""
    size = min(26, int(1150 / 0.62 / max(map(len, text.splitlines()))))
    return f'<pre class="fp-printed" style="font-size: {size}px">{html.escape(text)}</pre>'


def code_of(cell: NotebookNode) -> str:
    """Return the code of a cell that is short and that a reader sees, as Markdown."""
    lines = cell.source.strip().splitlines()
    hidden = {"hide-input", "check", "solution", "remove-input"} & set(cell.metadata.get("tags", []))
    teaches = [line for line in lines if not re.match(r"(import|from|assert|#|%|$)|my_\w+ = \.\.\.", line)]
    if hidden or not teaches or len(lines) > CODE or max(map(len, lines)) > WIDEST or "widget" in cell.source:
        return ""
    return f"```python\n{cell.source.strip()}\n```"


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
    """Make the slides of an ordinary section; none if it has nothing to look at.

    On the way: is there `room` on the first slide, is an outcome `awaited` or just `told`, what was said `before`.
    """
    slides = [text_slide(f"## {section.title}\n\n{first_sentences(section.prose)}", "slide")]
    room, awaited, told, before = True, False, False, ""
    for part in section.parts:
        if isinstance(part, str):
            if PREDICTION.search(part) and "?" in part:
                if room and len(slides) == 1:  # nothing was shown yet: the section begins with the prediction
                    slides = []
                title = "Your prediction" if slides else f"{section.title}: your prediction"
                slides.append(text_slide(f"## {title}\n\n{plain(part)}", "subslide" if slides else "slide"))
                room, awaited = False, True
            elif part.startswith("$$") and room:
                slides.append(text_slide(plain(part), "-"))
                room = False
            elif told:
                slides.append(text_slide(first_sentences([part]), "-"))
            before, told = part, False
            continue
        code, result = code_of(part), shown(part, pictures_only=not (awaited or room))
        if awaited and code and slides[-1].source.startswith("## "):  # the question, and no code below it yet
            slides.append(text_slide(code, "-"))
        elif room and code and not (result and "outputs" in result):  # a picture or a table needs the room
            slides.append(text_slide(code, "-"))
            room = False
            if result and len(f"{code}{result.source}".splitlines()) > ROOM:
                result = None
        elif result and not room and not awaited:
            slides.append(text_slide(first_sentences([before], 25), "subslide"))
        if result is None:
            continue
        if awaited:
            slides.append(text_slide("## What came out", "subslide"))
        slides.append(kind(result, "-"))
        room, told, awaited = False, awaited, False
    return slides if len(slides) > 1 or not room else []


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
    slides, asked = [], 0
    for text in section.prose:
        answer = ANSWER.match(text)
        asked += bool(QUESTION.match(text))
        if asked > QUESTIONS:
            break
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
            notes = "\n\n".join(plain(text) for text in section.prose if not text.startswith(("`", ":")))
            if made := section_slides(section):
                slides += [*made, text_slide(notes, "notes")]
            elif slides and slides[-1].metadata["slideshow"]["slide_type"] == "notes":
                slides[-1]["source"] += f"\n\n**{section.title}.** {notes}"
    return slides
