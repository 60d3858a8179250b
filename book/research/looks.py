"""One look for each setting in every figure of results: the colour says who trains with whom, the line with what."""

import re

from fedprompt_helpers.plots import MARKERS, PALETTE

WHO = {
    "a part alone": (4, "P"),
    "one message, then alone": (7, "*"),
    "one message": (3, "D"),
    "rounds, then alone": (5, "^"),
    "pooled": (2, "v"),
    "alone": (1, "s"),
    "rounds": (0, "o"),
}
"""How languages train: the place of its colour in the palette, and its marker."""
FOUND = {
    r"shared.*local|local.*shared|kept local": "a part alone",
    r"(one message|together).*then": "one message, then alone",
    r"one message|^together$": "one message",
    r"then\b.*\balone": "rounds, then alone",
    r"centralised|pooled": "pooled",
    r"\blocal\b|\balone\b|of one client": "alone",
    r"\bfed|\ball shared": "rounds",
}
"""What a setting's label says of it; the first that is found decides."""
LINES = {r"\bridge\b": "--", r"class means": "-."}


def who(label: str) -> str | None:
    """Say how the languages of a setting train, by its label; None if the label does not say it."""
    return next((name for words, name in FOUND.items() if re.search(words, label, re.I)), None)


def look(label: str, place: int = 0) -> dict[str, str]:
    """Give colour, marker and line of a setting; one whose label does not say who trains takes those of its place."""
    colour, marker = WHO.get(who(label) or "", (place % len(PALETTE), MARKERS[place % len(MARKERS)]))
    line = next((line for words, line in LINES.items() if re.search(words, label, re.I)), "-")
    return {"color": PALETTE[colour], "marker": marker, "linestyle": line}
