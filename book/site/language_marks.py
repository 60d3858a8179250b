"""Foreign words and sentences of the built pages carry their language, so that a screen reader says them right."""

import csv
import html
import re
from functools import cache
from importlib.resources import files

SCRIPTS = {"bn": "\u0980-\u09ff", "ne": "\u0900-\u097f", "am": "\u1200-\u137f", "th": "\u0e00-\u0e7f"}
"""Scripts in which the book writes one language each."""

PIECE = re.compile(
    r"(<(script|style|title|svg|select|textarea)\b.*?</\2>|<!--.*?-->|<[^>]*>)", re.DOTALL | re.IGNORECASE
)
"""What is no text to be read, and where an element around words is not allowed: a list's options mark themselves."""

OPENS = re.compile(r"<\w[^>]*\slang=")
SHORTEST = 9
"""Characters of the shortest sentence that is marked: `stop` is English too."""


@cache
def sentences() -> dict[str, str]:
    """Return each foreign sentence of the voice commands with its language, unless two languages share it."""
    found, twice = {}, set()
    for folder in sorted(files("fedprompt_helpers.data.intents").iterdir(), key=lambda one: one.name):
        if folder.name == "en" or not folder.is_dir():
            continue
        for file in folder.iterdir():
            for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t", quoting=3):
                text = row["text"]
                if len(text) >= SHORTEST and " " in text and found.setdefault(text, folder.name) != folder.name:
                    twice.add(text)
    return {text: language for text, language in found.items() if text not in twice}


def mark_languages(text: str) -> str:
    """Return a page in which foreign sentences, and words of another script, stand in an element with their language.

    A sentence counts as foreign where it is one of the shipped voice commands, so prose, tables and outputs need no
    mark of their own.
    """
    words = set(re.findall(r"\w+", html.unescape(text)))
    known = {
        html.escape(said, quote=quote): language
        for said, language in sentences().items()
        if words.issuperset(re.findall(r"\w+", said))
        for quote in (True, False)
    }
    wanted = [re.escape(said) for said in sorted(known, key=len, reverse=True) if said in text]
    script = "|".join(f"(?P<{code}>[{letters}](?:[{letters} ]*[{letters}])?)" for code, letters in SCRIPTS.items())
    foreign = re.compile("|".join([*(rf"(?<!\w){said}(?!\w)" for said in wanted), script]))

    def marked(found: re.Match) -> str:
        return f'<span lang="{known.get(found[0]) or found.lastgroup}">{found[0]}</span>'

    pieces = PIECE.split(text)
    # Two groups: every third piece is text, and what follows is the tag after it and that tag's name.
    for number in range(0, len(pieces), 3):
        if number == 0 or not OPENS.match(pieces[number - 2]):
            pieces[number] = foreign.sub(marked, pieces[number])
    return "".join(piece for number, piece in enumerate(pieces) if number % 3 != 2)
