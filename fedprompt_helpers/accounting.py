"""Parameters and bytes: counted on the model, measured on the messages."""

import torch
import xxhash


def is_head(name: str) -> bool:
    """Tell whether a parameter belongs to the classification head."""
    return "classifier" in name or name.startswith("score") or ".score." in name


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


def frozen_digest(model: torch.nn.Module) -> str:
    """Hash the bits of every frozen weight, to prove that training left them as they were.

    Returns
    -------
    str
        The 128-bit XXH3 digest, in hexadecimal; parameters in the order of their names.
    """
    hasher = xxhash.xxh3_128()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            hasher.update(name.encode())
            hasher.update(parameter.detach().contiguous().view(torch.uint8).numpy())
    return hasher.hexdigest()
