"""A calculator of what a federation sends; its formula, ``bill``, stands once more in ``bill_formula.js``."""

import tempfile
from collections.abc import Mapping

from fedprompt_helpers.config import METHODS
from fedprompt_helpers.errors import FedPromptError

from .base import Tell, Widget

WIDTHS = {"float32": (4, 4), "float16": (2, 2), "int8": (2, 1)}  # bytes of a number, down and up, by precision
# Sizes of FacebookAI/xlm-roberta-large, from its config.json (Conneau et al. 2020: 24 layers, 1024 wide, 550 M).
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_LIMIT = 100_000  # of clients, and of rounds
_TITLES = ("prompt tuning", "P-tuning", "prefix tuning", "LoRA, rank 8", "head alone", "full fine-tuning")


def bill(numbers: int, model: int, clients: int, rounds: int, scoring: int, widths: tuple[int, int]) -> dict[str, int]:
    """Compute the bytes of one ``update``, of all messages (``total``), and of ``whole`` models in the same messages.

    `model` counts all numbers of the pretrained model with its head, sent in float32. `scoring` is 1 if clients score
    after every round, for which the arrays travel down once more, else 0. `widths` are one of ``WIDTHS``. Names,
    shapes, headers, int8's scales, replies with scores, and the first download of the backbone come on top.
    """
    down, up = widths
    total = clients * rounds * ((1 + scoring) * down + up) * numbers
    return {"update": up * numbers, "total": total, "whole": clients * rounds * (2 + scoring) * 4 * model}


def trained_numbers(
    backbones: Mapping[str, str] | None = None, *, num_labels: int = 12, virtual_tokens: int = 8
) -> dict[str, dict[str, int]]:
    """Count what is trained, by method, of backbones by name, each a hub id or a folder; no weight is loaded.

    Without any, of ``"pocket"``, ``"base"`` and ``"large"``, the last two XLM-R.
    """
    from transformers import XLMRobertaConfig  # both bring torch: only when needed

    from fedprompt_helpers.model.counting import XLM_ROBERTA_BASE, count_without_weights

    sizes = {"num_labels": num_labels, "virtual_tokens": virtual_tokens}
    with tempfile.TemporaryDirectory() as folder:
        XLMRobertaConfig(**XLM_ROBERTA_BASE | _LARGE).save_pretrained(folder)
        names = backbones or {"pocket": "pocket", "base": "FacebookAI/xlm-roberta-base", "large": folder}
        return {x: {m: count_without_weights(names[x], m, **sizes)["trainable"] for m in METHODS} for x in names}


def bill_calculator(*, num_labels: int = 12, virtual_tokens: int = 8, clients: int = 5, rounds: int = 20) -> Widget:
    """Show what a federation sends, for a backbone (live, any), a method, clients, rounds and a precision to choose.

    Parameters
    ----------
    num_labels, virtual_tokens, clients, rounds : int
        Classes of the head, virtual tokens of the prompt methods, and what two of the fields hold at first.
    """
    for name, value in {"clients": clients, "rounds": rounds}.items():
        if not 1 <= value <= _LIMIT:
            raise FedPromptError(f"{name} is {value}; give a whole number from 1 to {_LIMIT:,}, for example 5")
    sizes, titles = {"num_labels": num_labels, "virtual_tokens": virtual_tokens}, zip(METHODS, _TITLES, strict=True)
    counts = trained_numbers(**sizes)
    rows = [{"method": m, "title": t, "on": " selected" * (m == "p-tuning")} for m, t in titles]
    for row in rows:
        row |= {key: f"{of[row['method']]:,}" for key, of in counts.items()}
    places = {"clients": clients, "rounds": rounds, "limit": _LIMIT, "labels": num_labels, "tokens": virtual_tokens}
    places |= {"rows": rows, "widths": [{"name": name} for name in WIDTHS]}
    data = {"counts": counts, "widths": WIDTHS, "limit": _LIMIT}

    def reply(tell: Tell, backbone: str) -> None:
        tell({"counts": trained_numbers({"own": backbone}, **sizes)["own"]})

    return Widget("fp-bill", "bill_calculator", data, reply=reply, formula="bill_formula.js", **places)
