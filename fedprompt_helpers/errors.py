"""The one exception that the helpers raise for a mistake the caller can mend."""

import difflib
from collections.abc import Iterable

MANY = 30  # of more choices than this only the first are listed: a list that nobody reads hides the hint


class FedPromptError(ValueError):
    """What was wrong, what was expected, and what to do next, in one line; the command leaves with exit code 2."""


def check_choice(kind: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, else raise FedPromptError with the nearest ones; `kind` names it."""
    choices = list(choices)
    if value in choices:
        return value
    asked = str(value)
    near = difflib.get_close_matches(asked, choices, n=3, cutoff=0.4) or difflib.get_close_matches(
        asked.lower(), choices, n=3, cutoff=0.1
    )
    hint = f"nearest: {', '.join(near)}; " if near and len(near) < len(choices) else ""
    more = f" and {len(choices) - MANY} more" if len(choices) > MANY else ""
    raise FedPromptError(f"unknown {kind} {value!r}; {hint}available: {', '.join(choices[:MANY])}{more}")


def last_line(error: BaseException) -> str:
    """Say an exception in one line: its type and the last line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300]}" if lines else type(error).__name__
