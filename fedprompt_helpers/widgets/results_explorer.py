"""An explorer of results: choose a question, see its settings, their intervals and every seed.

What is drawn from the scores stands in ``results_formula.js``: a value a seed (the mean over languages, or one
language; less that of the baseline's same seed for the gain), their mean, and half their 95% interval by Student's t.
"""

from collections.abc import Mapping

from IPython.display import HTML
from scipy import stats

from ..errors import FedPromptError, check_choice
from ..plots import PALETTE
from .base import inline_widget, options

MEASURES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
_KEYS = {"question", "languages", "majority", "settings"}


def results_explorer(data: Mapping[str, Mapping], *, first: str | None = None) -> HTML:
    """Show the settings of a question to choose, each with its mean, its 95% interval and every seed.

    Parameters
    ----------
    data : mapping of str to mapping
        Name of a question to what is shown for it: ``question`` (text), ``languages``, ``majority`` (measure to
        language to score of always guessing the most frequent class), and ``settings``, a list of ``name``, ``seeds``,
        ``baseline`` (whether it is one), ``base`` (place of its baseline in the list, or None), and for each of
        ``accuracy`` and ``macro_f1`` language to one score a seed, None where there is none.
    first : str, optional
        Name of the question shown first.
    """
    if not data:
        raise FedPromptError("no question to show; give the explorer at least one, with its settings and their scores")
    for name, of in data.items():
        if lacking := sorted(_KEYS - set(of)):
            raise FedPromptError(f"the question {name!r} lacks {', '.join(lacking)}; give all of {sorted(_KEYS)}")
    first = check_choice("question", first or next(iter(data)), data)
    most = max((len(setting["seeds"]) for of in data.values() for setting in of["settings"]), default=0)
    t = {n: round(float(stats.t.ppf(0.975, n - 1)), 6) for n in range(2, most + 1)}
    embedded = {"sweeps": dict(data), "t": t, "measures": MEASURES, "colours": PALETTE[:2]}
    questions = options({name: of["question"] or name for name, of in data.items()}, first)
    places = {"questions": questions, "measures": options(MEASURES, "accuracy")}
    return inline_widget("fp-res", "results_explorer", embedded, formula="results_formula.js", **places)
