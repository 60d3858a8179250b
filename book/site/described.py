"""What the package's pages say of a name: signatures that can be read, and descriptions in one piece."""

import re

ANNOTATED = re.compile(r"(?:~?typing\.)?\bAnnotated\[")
VALUES = {"<function <lambda>>": "...", "<factory>": "...", "<built-in function print>": "print"}
"""How a default is written that has no source of its own."""


def without_limits(text: str) -> str:
    """Leave of each ``Annotated[TYPE, limits]`` the type; the limits stand in the description, and in the error."""
    while found := ANNOTATED.search(text):
        depth, comma, end = 0, None, len(text)
        for place in range(found.end(), len(text)):
            depth += (text[place] in "[({") - (text[place] in "])}")
            if depth < 0:
                end = place
                break
            if text[place] == "," and depth == 0 and comma is None:
                comma = place
        text = text[: found.start()] + text[found.end() : comma or end] + text[end + 1 :]
    return text


def write_signature(app, what, name, thing, options, signature, result) -> tuple[str | None, str | None]:
    """Write a signature so that it can be read."""
    written = without_limits(signature or "")
    for value, instead in VALUES.items():
        written = written.replace(value, instead)
    return written or None, result


def join_description(app, what, name, thing, options, lines: list[str]) -> None:
    """Put an attribute's description together again: what stands before a colon in it was taken for its type."""
    if what in ("attribute", "property", "data"):
        for place, line in enumerate(lines):
            if line.startswith(":type: "):
                lines[:] = [f"{line.removeprefix(':type: ')}: {lines[0]}", *lines[1:place], *lines[place + 1 :]]
                return
