"""The one exception that the helpers raise for a mistake the caller can mend."""

import difflib
from collections.abc import Iterable


class FedPromptError(ValueError):
    """What was wrong, what was expected, and what to do next, in one line.

    The ``fedprompt`` command prints it without a traceback and leaves with exit code 2.
    """


def check_choice(kind: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, else name the nearest ones.

    Parameters
    ----------
    kind : str
        What is being chosen, for the message: ``"language"``, ``"task"``.
    value : str
        What the caller asked for.
    choices : iterable of str
        What is available.

    Raises
    ------
    FedPromptError
        If `value` is not available.
    """
    choices = list(choices)
    if value in choices:
        return value
    near = difflib.get_close_matches(value, choices, n=3, cutoff=0.4) or difflib.get_close_matches(
        value.lower(), choices, n=3, cutoff=0.1
    )
    hint = f"nearest: {', '.join(near)}; " if near and len(near) < len(choices) else ""
    raise FedPromptError(f"unknown {kind} {value!r}; {hint}available: {', '.join(choices)}")
