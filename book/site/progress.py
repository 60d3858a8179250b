"""What a reader has done: a list of the chapters, and a box at the end of each; the marks stay in the browser."""

from html import escape
from pathlib import PurePosixPath

from docutils import nodes
from docutils.parsers.rst import Directive

BOX = '<label><input type="checkbox" name="{name}"> {what}<span class="fp-unseen"> {of}</span></label>'


def chapters(env) -> dict[str, str]:
    """Return page and title of each chapter, in the book's order."""
    return {page: env.titles[page].astext() for page in sorted(env.titles) if page.startswith("notebooks/")}


def boxes(page: str, number: str) -> list[str]:
    """Return the two boxes of a chapter."""
    name = PurePosixPath(page).name
    return [
        BOX.format(name=name, what="read", of=f"chapter {number}"),
        BOX.format(name=f"{name}-exercises", what="exercises", of=f"of chapter {number}"),
    ]


class Progress(Directive):
    """The list of all chapters; it is filled once every title is known."""

    def run(self) -> list:
        """Leave a place for the list."""
        return [nodes.raw("", PLACE, format="html")]


PLACE = '<div id="fp-progress"></div>'


def add_progress(app, pagename, templatename, context, doctree) -> None:
    """Fill the list, and put a box at the end of a chapter; Sphinx calls this."""
    known = chapters(app.env)
    names = escape(" ".join(PurePosixPath(page).name for page in known))
    if PLACE in context.get("body", ""):
        rows = "".join(
            f'<tr><th scope="row"><a href="{app.builder.get_relative_uri(pagename, page)}">{escape(title)}</a></th>'
            + "".join(f"<td>{box}</td>" for box in boxes(page, title.split(".")[0]))
            + "</tr>"
            for page, title in known.items()
        )
        context["body"] = context["body"].replace(
            PLACE,
            f'<section class="fp-progress" aria-label="Your progress" data-chapters="{names}"><p><progress max="1" '
            'value="0" aria-label="Share of the book that you have done"></progress> <span role="status" '
            'class="fp-state">Marks need JavaScript in your browser.</span></p><table><caption>Tick what you have '
            f"done. Your marks stay in this browser, on this computer.</caption><tbody>{rows}</tbody></table>"
            '<button type="button">Clear all marks</button></section>',
        )
    elif pagename in known:
        everything = f"{app.builder.get_relative_uri(pagename, 'book/students')}#your-progress"
        context["body"] += (
            f'<aside class="fp-progress" aria-label="Your progress" data-chapters="{names}"><p>'
            f"<strong>Done?</strong> {' '.join(boxes(pagename, known[pagename].split('.')[0]))} "
            '<span role="status" class="fp-state">Marks need JavaScript in your browser.</span> '
            f'<a href="{everything}">All chapters</a></p></aside>'
        )
