"""The closed questions below each chapter, and the map from outcomes to sections, exercises and questions."""

import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import Directive

from book.site.tables import BOX
from book.tools.questions import Bank, bank, chapters

PLACE = '<div id="fp-outcome-map"></div>'


class OutcomeMap(Directive):
    """The map of all chapters; it is filled once every page is known."""

    def run(self) -> list:
        """Leave a place for the map."""
        return [nodes.raw("", PLACE, format="html")]


def inline(text: str) -> str:
    """Write a text as HTML; what stands between backquotes is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split())))


def questions(name: str, found: Bank) -> str:
    """Return the questions of a chapter as HTML that says why once an option is chosen."""
    shown = []
    for number, question in enumerate(found.questions, 1):
        options = "".join(
            f'<label><input type="radio" name="{name}-{number}" data-why="{escape(" ".join(option.why.split()))}"'
            f"{' data-right=1' if option.right else ''}> {inline(option.text)}</label>"
            for option in question.options
        )
        shown.append(
            f'<fieldset class="fp-question" id="question-{number}"><legend>{number}. {inline(question.text)}</legend>'
            f'{options}<p class="fp-why" role="status"></p></fieldset>'
        )
    return f'<section id="questions"><h2>Closed questions</h2>{"".join(shown)}</section>'


def outcome_map(app, pagename: str) -> str:
    """Return the table: what a reader can do, where it is taught, and what asks for it."""
    rows = []
    for name in chapters():
        page = f"notebooks/{name}"
        address = app.builder.get_relative_uri(pagename, page)
        found = bank(name)
        for number, outcome in enumerate(found.outcomes, 1):
            asked = [k for k, question in enumerate(found.questions, 1) if question.outcome == number]
            links = ", ".join(f'<a href="{address}#question-{k}">{k}</a>' for k in asked)
            rows.append(
                f'<tr><th scope="row"><a href="{address}#what-you-will-be-able-to-do">{int(name[:2])}.{number}</a></th>'
                f"<td>{inline(outcome.section)}</td><td>{', '.join(map(str, outcome.exercises)) or '–'}</td>"
                f"<td>{links or '–'}</td></tr>"
            )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Outcome", "Section", "Exercises", "Closed questions"))
    table = f'<table class="table"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return BOX.format("Table: what asks for each outcome", table)


def add_questions(app, pagename, templatename, context, doctree) -> None:
    """Put a chapter's questions below it, and fill the map; Sphinx calls this."""
    name = pagename.removeprefix("notebooks/")
    if name != pagename and name in chapters():
        context["body"] += questions(name, bank(name))
    elif PLACE in context.get("body", ""):
        context["body"] = context["body"].replace(PLACE, outcome_map(app, pagename))
