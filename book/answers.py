"""Mark an answer that a reader writes into a chapter: ``mark(my_answer, right)``; three dots wait for one."""

import math


def mark(yours: object, right: object, within: float = 0.0, hint: str = "") -> None:
    """Print whether an answer is right, without printing the answer.

    Parameters
    ----------
    yours
        What the reader wrote: a number, a text, or anything that can be compared, also from NumPy or
        PyTorch; ``...`` if nothing yet.
    right
        The answer. A mapping, list or tuple of answers is marked part by part.
    within
        How far a number may be from the right one.
    hint
        What to look at again; printed if the answer is wrong.
    """
    if yours is ... or (isinstance(yours, list | tuple) and any(part is ... for part in yours)):
        print("Put your answer in the place of the three dots, and run the two cells again.")
    elif _equal(yours, right, within):
        print("Right.")
    else:
        print(f"Not yet: {yours!r} is not it. {hint}".rstrip())


def _equal(yours: object, right: object, within: float) -> bool:
    yours = yours.tolist() if hasattr(yours, "tolist") else yours  # of NumPy or PyTorch
    if isinstance(right, list | tuple):
        same = isinstance(yours, list | tuple) and len(yours) == len(right)
        return same and all(_equal(a, b, within) for a, b in zip(yours, right, strict=True))
    if isinstance(right, int | float) and not isinstance(right, bool):
        return isinstance(yours, int | float) and math.isclose(yours, right, rel_tol=1e-6, abs_tol=within)
    return yours == right
