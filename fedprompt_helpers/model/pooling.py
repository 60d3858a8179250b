"""A linear head on the mean of the token vectors, in place of the backbone's own head on the first (chapter 7)."""

import torch
from transformers.modeling_outputs import BaseModelOutput


class MeanHead(torch.nn.Module):
    """One linear layer, which starts at zero: nothing has to break a symmetry where there is one layer."""

    def __init__(self, width: int, labels: int):
        super().__init__()
        self.out_proj = torch.nn.Linear(width, labels)
        torch.nn.init.zeros_(self.out_proj.weight)
        torch.nn.init.zeros_(self.out_proj.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Read what `pool` has put at position 0: ``(batch, positions, width)`` to ``(batch, labels)``."""
        return self.out_proj(features[:, 0])


def pool(model: torch.nn.Module) -> torch.nn.Module:
    """Give a model with a classification head a `MeanHead`; its encoder then puts the mean at position 0."""
    model.classifier = MeanHead(model.config.hidden_size, model.config.num_labels)
    model.classifier.virtual_tokens = 0  # that stand before the text, and are no part of the mean
    model.base_model.register_forward_hook(
        lambda _, inputs, named, output: _mean(output, named["attention_mask"], model.classifier), with_kwargs=True
    )
    return model


def _mean(output: BaseModelOutput, mask: torch.Tensor, head) -> BaseModelOutput:
    vectors = output.last_hidden_state
    if vectors is None or vectors.shape[1] == 1:
        return output  # it was remembered
    wrapped = getattr(head, "original_module", head)  # where PEFT keeps the head, it wraps it
    mask = mask[:, -vectors.shape[1] :].clone()  # the keys of a prefix have no vector of their own
    mask[:, : wrapped.virtual_tokens] = 0
    weights = mask.to(vectors.dtype)[:, :, None]
    return BaseModelOutput(last_hidden_state=(vectors * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True))


_KNOWN: dict[tuple, dict] = {}  # by backbone and data type: token ids to the mean of their vectors


def remember(model: torch.nn.Module) -> None:
    """Let an encoder that nothing before the head changes compute each text once in a process, not once an epoch."""
    encoder = model.base_model
    compute, known = encoder.forward, _KNOWN.setdefault((model.config.name_or_path, model.dtype), {})

    def look_up(input_ids: torch.Tensor, attention_mask: torch.Tensor, **named) -> BaseModelOutput:
        texts = [tuple(row[kept.bool()].tolist()) for row, kept in zip(input_ids, attention_mask, strict=True)]
        new = [i for i, text in enumerate(texts) if text not in known]
        if new:
            with torch.no_grad():
                mask = attention_mask[new]
                found = _mean(compute(input_ids[new], attention_mask=mask, **named), mask, model.classifier)
            known.update(zip((texts[i] for i in new), found.last_hidden_state.cpu(), strict=True))
        return BaseModelOutput(last_hidden_state=torch.stack([known[text] for text in texts]).to(input_ids.device))

    encoder.forward = look_up
