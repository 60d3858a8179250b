"""A calculator of what a federation sends.

Its formula is ``bill``, which stands once more in ``bill_formula.js`` (a test holds the two against each other).
Names, shapes and headers, int8's one scale an array, the replies with scores, and the first download of the backbone
come on top.
"""

import tempfile

from IPython.display import HTML
from transformers import XLMRobertaConfig

from ..config import METHODS
from ..errors import FedPromptError
from ..model.counting import XLM_ROBERTA_BASE, count_without_weights
from .base import inline_widget, options

WIDTHS = {"float32": (4, 4), "float16": (2, 2), "int8": (2, 1)}
"""Bytes of a number, down and up, by precision of updates."""

# Sizes of FacebookAI/xlm-roberta-large, from its config.json (Conneau et al. 2020: 24 layers, 1024 wide, 550 M).
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_LIMIT = 100_000  # of clients, and of rounds
_TITLES = ("prompt tuning", "P-tuning", "prefix tuning", "LoRA, rank 8", "head alone", "full fine-tuning")
_NAMES = dict(zip(METHODS, _TITLES, strict=True))


def bill(numbers: int, model: int, clients: int, rounds: int, scoring: int, widths: tuple[int, int]) -> dict[str, int]:
    """Compute the bytes of one ``update``, of all messages (``total``), and of ``whole`` models in the same messages.

    `model` counts all numbers of the pretrained model with its head, sent in float32. `scoring` is 1 if clients score
    after every round, for which the arrays travel down once more, else 0. `widths` are one of ``WIDTHS``.
    """
    down, up = widths
    total = clients * rounds * ((1 + scoring) * down + up) * numbers
    return {"update": up * numbers, "total": total, "whole": clients * rounds * (2 + scoring) * 4 * model}


def trained_numbers(num_labels: int = 12, virtual_tokens: int = 8) -> dict[str, dict[str, int]]:
    """Count what is trained, by backbone (``"pocket"``, ``"base"``, ``"large"``) and method; no weight is loaded."""
    counts, sizes = {}, {"num_labels": num_labels, "virtual_tokens": virtual_tokens}
    with tempfile.TemporaryDirectory() as folder:
        XLMRobertaConfig(**XLM_ROBERTA_BASE | _LARGE).save_pretrained(folder)
        for key, name in {"pocket": "pocket", "base": "FacebookAI/xlm-roberta-base", "large": folder}.items():
            counts[key] = {m: count_without_weights(name, m, **sizes)["trainable"] for m in METHODS}
    return counts


def bill_calculator(*, num_labels: int = 12, virtual_tokens: int = 8, clients: int = 5, rounds: int = 20) -> HTML:
    """Show what a federation sends, for a backbone, a method, clients, rounds and a precision to choose.

    Parameters
    ----------
    num_labels, virtual_tokens : int
        Classes of the head, and virtual tokens of the prompt methods.
    clients, rounds : int
        What the fields hold at first.
    """
    for name, value in {"clients": clients, "rounds": rounds}.items():
        if not 1 <= value <= _LIMIT:
            raise FedPromptError(f"{name} is {value}; give a whole number from 1 to {_LIMIT:,}, for example 5")
    counts, rows = trained_numbers(num_labels, virtual_tokens), ""
    for method, name in _NAMES.items():
        cells = "".join(f"<td>{of[method]:,}</td>" for of in counts.values())
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    data = {"counts": counts, "widths": WIDTHS, "limit": _LIMIT}
    places = {"clients": clients, "rounds": rounds, "limit": _LIMIT, "labels": num_labels, "tokens": virtual_tokens}
    places |= {"methods": options(_NAMES, "p-tuning"), "precisions": options({x: x for x in WIDTHS}), "rows": rows}
    return inline_widget("fp-bill", "bill_calculator", data, formula="bill_formula.js", **places)
