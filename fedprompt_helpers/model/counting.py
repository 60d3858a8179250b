"""Parameters and bytes: counted on the model, measured on the messages."""

import torch
import xxhash
from transformers import AutoModelForSequenceClassification, XLMRobertaConfig

from ..config import METHODS
from ..errors import FedPromptError
from . import methods
from .backbones import load_config

XLM_ROBERTA_BASE = {
    "vocab_size": 250_002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
}
"""Sizes of FacebookAI/xlm-roberta-base, from its config.json (Conneau et al. 2020)."""


def is_head(name: str) -> bool:
    """Tell whether a parameter belongs to the classification head."""
    parts = [part for part in name.split(".") if part not in ("base_model", "model")]  # what PEFT puts before it
    return parts[0] in methods.HEADS


def count_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Count parameters.

    Returns
    -------
    dict of str to int
        ``total``: all, a shared tensor once; ``trainable``: those with ``requires_grad``; ``prompt`` and ``head``:
        the trainable ones by part (``prompt`` is everything that is not the classification head);
        ``full_model_bytes``: what sending every parameter of the model without the added parts would take, 4 bytes
        each (float32).
    """
    trainable = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    head = sum(count for name, count in trainable.items() if is_head(name))
    total = sum(p.numel() for p in model.parameters())
    frozen_copy_of_head = sum(p.numel() for name, p in model.named_parameters() if "original_module" in name)
    added = sum(trainable.values()) - head
    return {
        "total": total,
        "trainable": sum(trainable.values()),
        "prompt": added if added < total - head else 0,
        "head": head,
        "full_model_bytes": 4 * (total - frozen_copy_of_head - (added if added < total - head else 0)),
    }


def count_without_weights(backbone: str, method: str, *, num_labels: int, virtual_tokens: int = 8) -> dict[str, int]:
    """Count the parameters of a method on a backbone without loading a single weight (PyTorch's meta device).

    Parameters
    ----------
    backbone : str
        ``"pocket"``, a hub id or a folder; only its ``config.json`` is read. The sizes of
        ``FacebookAI/xlm-roberta-base`` are known here, so that it needs no hub.
    method : str
        One of ``config.METHODS``.
    num_labels, virtual_tokens : int
        Classes of the head, and virtual tokens of the prompt methods.

    Returns
    -------
    dict of str to int
        As ``count_parameters``, and ``trainable_head_twice``: the trainable ones with PEFT's frozen copy of the head
        added. For prompt tuning of XLM-R-base with 8 virtual tokens and 10 labels that is 1,202,708, the "around 1.2
        million" of arXiv 2507.03003; counting so is our inference, since no code of its authors is public.

    Raises
    ------
    FedPromptError
        If the backbone's configuration cannot be loaded, the method is unknown or not available for the backbone
        (``methods.MethodNotAvailable``), or `num_labels` is below 2.
    """
    if num_labels < 2:
        raise FedPromptError(f"num_labels is {num_labels}; a classification head needs at least 2")
    if backbone == "FacebookAI/xlm-roberta-base":
        config = XLMRobertaConfig(num_labels=num_labels, **XLM_ROBERTA_BASE)
    else:
        config = load_config(backbone, num_labels)
    with torch.device("meta"):
        try:
            model = AutoModelForSequenceClassification.from_config(config)
        except ValueError as error:
            raise FedPromptError(
                f"the backbone {backbone!r} is of type {config.model_type!r}, for which Transformers has no sequence "
                "classification; take another backbone, for example pocket"
            ) from error
        for parameter in model.base_model.parameters():
            parameter.requires_grad_(False)
        prepared = methods.prepare(model, method, virtual_tokens=virtual_tokens)
    count = count_parameters(prepared)
    copy = sum(p.numel() for name, p in prepared.named_parameters() if "original_module" in name)
    return count | {"trainable_head_twice": count["trainable"] + copy}


def is_added(name: str) -> bool:
    """Tell whether a parameter is one that a method adds to the pretrained encoder: head, prompt or LoRA matrix."""
    return is_head(name) or "prompt_encoder" in name or "lora_" in name


def backbone_digest(model: torch.nn.Module) -> str:
    """Hash the bits of every weight of the pretrained encoder, to prove that training left them as they were.

    It hashes by name, whatever ``requires_grad`` says: an encoder that somebody forgot to freeze shows.

    Returns
    -------
    str
        The 128-bit XXH3 digest, in hexadecimal; parameters in the order of their names.
    """
    hasher = xxhash.xxh3_128()
    for name, parameter in sorted(model.named_parameters()):
        if not is_added(name):
            hasher.update(name.encode())
            hasher.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    return hasher.hexdigest()


def table_of_counts(backbone: str, labels: int, virtual_tokens: int) -> str:
    """Write what each method trains as a plain text table: the table of ``fedprompt count``."""
    lines = [f"{backbone}, {labels} labels, {virtual_tokens} virtual tokens", ""]
    lines.append(
        f"{'method':<15}{'trainable':>13}{'prompt':>13}{'head':>11}{'head twice':>13}{'total':>14}{'share':>9}"
    )
    for method in METHODS:
        try:
            n = count_without_weights(backbone, method, num_labels=labels, virtual_tokens=virtual_tokens)
        except methods.MethodNotAvailable:
            lines.append(f"{method:<15}{'not available on this backbone':>38}")
            continue
        lines.append(
            f"{method:<15}{n['trainable']:>13,}{n['prompt']:>13,}{n['head']:>11,}{n['trainable_head_twice']:>13,}"
            f"{n['total']:>14,}{100 * n['trainable'] / n['total']:>8.2f}%"
        )
    return "\n".join(lines)
