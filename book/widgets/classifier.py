"""A trained model at work: how probable it holds every label, for given texts and, live, for what is typed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import fedprompt_helpers as fp
from fedprompt_helpers.errors import FedPromptError

from .base import Tell, Widget

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from fedprompt_helpers.adapters import Adapter


def classifier(
    model: "Adapter | torch.nn.Module", texts: Sequence[str], *, tokenizer: "PreTrainedTokenizerBase | None" = None,
    labels: Sequence[str] = (), max_length: int = 64,
) -> Widget:  # fmt: skip
    """Show the probability of each label as a bar, for a text to choose; live, also for one's own while one types.

    Parameters
    ----------
    model, texts : Adapter or torch.nn.Module, sequence of str
        From ``fp.load_adapter``, or one that you trained; at least one text to begin with.
    tokenizer, labels, max_length : PreTrainedTokenizerBase, sequence of str, int
        Those of a model that you trained. An adapter knows its own.
    """
    import torch

    arrays = None
    if hasattr(model, "frozen"):
        if model.pairs:
            raise FedPromptError("this model reads pairs of texts; give the classifier one that reads single texts")
        arrays, labels, max_length = model.arrays, model.labels, model.frozen.length
        model, tokenizer = model.frozen.model, model.frozen.tokenizer
    if tokenizer is None or len(labels) != model.config.num_labels:
        what = f"{len(labels)} labels and {'no' if tokenizer is None else 'a'} tokenizer"
        raise FedPromptError(f"{what} for {model.config.num_labels} classes; give tokenizer=... and labels=...")
    if not texts:
        raise FedPromptError('no text to classify; give at least one, for example ["turn on the light"]')

    def shares(text: str) -> dict:
        if not text.strip():
            raise FedPromptError("a text is empty; write at least one word")
        if arrays:
            fp.set_arrays(model, arrays)  # a run of this process may have changed them
        whole = tokenizer(text, truncation=True, max_length=max_length + 1)["input_ids"]
        batch = tokenizer([text], truncation=True, max_length=max_length, return_tensors="pt").to(model.device)
        training, _ = model.training, model.eval()
        with torch.inference_mode():
            logits = model(**batch).logits[0].double()
        model.train(training)
        return {
            "shares": [round(p, 4) for p in logits.softmax(0).tolist()],
            "cut": max_length * (len(whole) > max_length),
        }

    def reply(tell: Tell, text: str) -> None:
        tell(shares(text))

    data = {"labels": list(labels), "texts": [{"text": text} | shares(text) for text in texts]}
    rows = [{"i": i, "text": text} for i, text in enumerate(texts)]
    return Widget("fp-class", "classifier", data, reply=reply, texts=rows, labels=[{"name": x} for x in labels])
