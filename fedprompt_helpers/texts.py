"""Texts that are given to a saved model: lines of a file or of standard input, or what Python code has."""

import io
import re
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from .data.tables import tidy
from .errors import FedPromptError


def read_lines(file: Path | None) -> list[str]:
    """Read the lines of a file, or of standard input; they end as lines of files do, and at no other character."""
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise FedPromptError("no text given; give --text, --file, or lines on standard input")
    where = file or "standard input"
    try:
        content = sys.stdin.buffer.read() if file is None else file.read_bytes()
        lines = io.StringIO(content.decode("utf-8-sig"), newline=None)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise FedPromptError(f"cannot read {where}: {reason}; expected one text a line, in UTF-8") from error
    if not (found := [line.removesuffix("\n") for line in lines]):
        raise FedPromptError(f"there is no text in {where}; expected one a line")
    return found


def as_texts(given: str | Iterable[str]) -> list[str]:
    """Make a list of a text or of several, of which none is empty; what is none is a FedPromptError."""
    try:
        found = [given] if isinstance(given, str) else None if isinstance(given, bytes | Mapping | Set) else list(given)
    except TypeError:
        found = None
    if found is None:
        raise FedPromptError(f"texts are of type {type(given).__name__}; give a text, or a list of texts")
    for number, text in enumerate(found, 1):
        if not isinstance(text, str):
            raise FedPromptError(f"text {number} is of type {type(text).__name__}; give a list of texts alone")
        if not tidy(text):
            raise FedPromptError(f"text {number} is empty; leave it out, or write something in it")
        if re.search("[\ud800-\udfff]", text):
            raise FedPromptError(f"text {number} has characters that are none; give it in UTF-8")
    return found
