"""Parameters, counted on the model, and the proof that the frozen ones stay as they were."""

import torch
import xxhash
from transformers import AutoConfig, AutoModelForSequenceClassification, XLMRobertaConfig

from ..errors import FedPromptError
from . import methods
from .backbones import quiet_loading, resolve

# Sizes of FacebookAI/xlm-roberta-base, from its config.json (Conneau et al. 2020).
XLM_ROBERTA_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
XLM_ROBERTA_BASE |= {"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1}


def is_head(name: str) -> bool:
    """Tell whether a parameter belongs to the classification head."""
    parts = [part for part in name.split(".") if part not in ("base_model", "model")]  # what PEFT puts before it
    return parts[0] in methods.HEADS


def count_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Count parameters; chapter 11 does it by hand.

    ``total``: all, a shared tensor once; ``trainable``: those with ``requires_grad``; ``head`` and ``prompt``: of the
    trainable ones, the classification head's and the others that a method adds; ``full_model_bytes``: what sending
    every parameter but those of the prompt would take, in float32, 4 bytes each.
    """
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    total, trainable = sum(p.numel() for p in model.parameters()), sum(trained.values())
    head = sum(count for name, count in trained.items() if is_head(name))
    prompt = trainable - head if trainable < total else 0  # if everything is trained, nothing was added
    copied = sum(p.numel() for name, p in model.named_parameters() if "original_module" in name)  # PEFT's, of the head
    whole = 4 * (total - copied - prompt)
    return {"total": total, "trainable": trainable, "prompt": prompt, "head": head, "full_model_bytes": whole}


def count_without_weights(backbone: str, method: str, *, num_labels: int, virtual_tokens: int = 8) -> dict[str, int]:
    """Count the parameters of a method on a backbone from its ``config.json``, without a weight (device "meta").

    As ``count_parameters``, and ``trainable_head_twice``: the trainable ones with PEFT's frozen copy of the head. For
    prompt tuning of XLM-R-base (its sizes are known here) with 8 virtual tokens and 10 labels that is 1,202,708, the
    "around 1.2 million" of arXiv 2507.03003; counting so is our inference, since no code of its authors is public.
    """
    source = resolve(backbone, num_labels)
    if source == "FacebookAI/xlm-roberta-base":
        config = XLMRobertaConfig(**XLM_ROBERTA_BASE, num_labels=num_labels)
    else:
        with quiet_loading(backbone):
            config = AutoConfig.from_pretrained(source, num_labels=num_labels)
    with torch.device("meta"):
        try:
            model = AutoModelForSequenceClassification.from_config(config)
        except ValueError as error:
            what = f"the backbone {backbone!r} is of type {config.model_type!r}, for which Transformers has no"
            what += " sequence classification; take another backbone, for example pocket"
            raise FedPromptError(what) from error
        model.base_model.requires_grad_(False)
        prepared = methods.prepare(model, method, virtual_tokens=virtual_tokens)
    count = count_parameters(prepared)
    copied = count["total"] - count["prompt"] - count["full_model_bytes"] // 4
    return count | {"trainable_head_twice": count["trainable"] + copied}


def backbone_digest(model: torch.nn.Module) -> str:
    """Hash the bits of the pretrained encoder, to prove that training left them as they were (chapters 2 and 11).

    128-bit XXH3 in hexadecimal of every weight but those that a method adds (head, prompt, LoRA), in the order of their
    names and whatever ``requires_grad`` says: an encoder that somebody forgot to freeze shows.
    """
    hasher = xxhash.xxh3_128()
    for name, parameter in sorted(model.named_parameters()):
        if not (is_head(name) or "prompt_encoder" in name or "lora_" in name):
            hasher.update(name.encode())
            hasher.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    return hasher.hexdigest()
