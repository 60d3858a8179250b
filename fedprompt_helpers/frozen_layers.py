"""Encoder layers whose weights never change, computed without what only changing weights would need."""

import functools
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.roberta.modeling_roberta import (
    RobertaClassificationHead,
    RobertaForSequenceClassification,
    RobertaLayer,
)
from transformers.models.xlm_roberta.modeling_xlm_roberta import (
    XLMRobertaClassificationHead,
    XLMRobertaForSequenceClassification,
    XLMRobertaLayer,
)

aten, mkldnn = torch.ops.aten, torch.ops.mkldnn
CLASSIFIERS = (XLMRobertaForSequenceClassification, RobertaForSequenceClassification)
HEADS = (XLMRobertaClassificationHead, RobertaClassificationHead)

# The layer that now has to compute position 0 alone, because a head that reads nothing else comes next.
_first_only: ContextVar[nn.Module | None] = ContextVar("first_only", default=None)


def speed_up(model: nn.Module) -> nn.Module:
    """Make the wholly frozen encoder layers of a model faster; what the model computes stays the same.

    A frozen layer needs no gradient of its weights, so its backward pass is written out here for the hidden states
    alone, with few intermediate copies. And where the classification head reads position 0 alone, the last layer
    computes queries, attention output and feed-forward for that position alone. Layers that are trained, adapted or
    of another architecture are left as they are. A layer decides at every call: with dropout, past keys and values,
    autocast, hooks on its parts, or recorded attentions it computes as Transformers wrote it.

    Parameters
    ----------
    model : torch.nn.Module
        A model of Transformers or PEFT, changed in place: the class of its layers, not its weights or their names.

    Returns
    -------
    torch.nn.Module
        The same model.
    """
    for module in model.modules():
        if type(module) in FASTER and not any(p.requires_grad for p in module.parameters()):
            module.__class__ = FASTER[type(module)]
        if type(module) in CLASSIFIERS and _before not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_before, with_kwargs=True)
            module.register_forward_hook(_after, always_call=True)
    return model


def _before(model: nn.Module, _, kwargs: dict) -> None:
    """Tell the last layer that position 0 is enough, unless something but the head reads its output."""
    recorded = any(
        kwargs.get(k) or getattr(model.config, k, False) for k in ("output_hidden_states", "output_attentions")
    )
    encoder = model.base_model.encoder
    last = encoder.layer[-1]
    read_elsewhere = last.gradient_checkpointing or any(m._forward_hooks for m in (last, encoder, model.base_model))
    head = getattr(model.classifier, "original_module", model.classifier)  # PEFT wraps a head that is trained
    _first_only.set(last if type(head) in HEADS and not recorded and not read_elsewhere else None)


def _after(*_) -> None:
    _first_only.set(None)


class _Frozen:
    """The forward pass of a frozen layer, in front of the class that Transformers gave it."""

    products = None

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *args, **kwargs) -> Tensor:
        """Compute the layer: ``(batch, length, hidden)`` to the same, or to ``(batch, 1, hidden)``."""
        attention, output = self.attention, self.output
        inner = attention.self
        linears = (inner.query, inner.key, inner.value, attention.output.dense, self.intermediate.dense, output.dense)
        norms = (attention.output.LayerNorm, output.LayerNorm)
        dropouts = (inner.dropout, attention.output.dropout, output.dropout)
        weights = [p for module in linears + norms for p in (module.weight, module.bias)]
        plain = (
            all(argument is None for argument in args)
            and all(kwargs.get(k) is None for k in ("encoder_hidden_states", "past_key_values"))
            and not (kwargs.get("output_attentions") or inner.config.output_attentions)
            and inner.config._attn_implementation == "eager"
            and inner.config.hidden_act == "gelu"
            and not (self.is_decoder or self.chunk_size_feed_forward)
            and all(type(module) is nn.Linear for module in linears)
            and all(type(module) is nn.LayerNorm for module in norms)
            and all(not p.requires_grad and p.dtype == hidden_states.dtype for p in weights)
            and not any(d.p and (d.training or inner.training) for d in dropouts)
            and not any(
                m._forward_hooks or m._forward_pre_hooks or m._backward_hooks
                for m in (attention, inner, attention.output, self.intermediate, output, *linears, *norms)
            )
            and (attention_mask is None or (attention_mask.dtype == hidden_states.dtype and attention_mask.dim() == 4))
            and not torch.is_autocast_enabled(hidden_states.device.type)
        )
        if not plain:
            return super().forward(hidden_states, attention_mask, *args, **kwargs)
        settings = (inner.num_attention_heads, inner.scaling, *(n.eps for n in norms), _first_only.get() is self)
        state = tuple((p.data_ptr(), p._version) for p in weights)
        if self.products is None or self.products.state != state:
            self.products = _Products(linears, state)
        norms = [p for module in norms for p in (module.weight, module.bias)]
        if torch.is_grad_enabled() and hidden_states.requires_grad:
            return _Layer.apply(hidden_states, attention_mask, settings, norms, self.products)
        return _compute(hidden_states, attention_mask, settings, norms, self.products)[0]

    def __getstate__(self):
        """Leave out the weights laid out for this processor: copies and pickles make their own."""
        return {name: value for name, value in self.__dict__.items() if name != "products"}


# Subclasses with names in this module, so that models can still be copied and pickled.
FASTER = {
    base: type(f"Frozen{base.__name__}", (_Frozen, base), {"__module__": __name__})
    for base in (BertLayer, RobertaLayer, XLMRobertaLayer)
}
globals().update({new.__name__: new for new in FASTER.values()})


class _Layer(torch.autograd.Function):
    """A layer with a gradient for its hidden states alone."""

    @staticmethod
    def forward(ctx, states, mask, settings, norms, products):
        output, kept = _compute(states, mask, settings, norms, products)
        ctx.save_for_backward(*kept)
        ctx.given, ctx.settings, ctx.shape = (norms, products), settings, states.shape
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return _gradient(gradient, ctx.shape, ctx.settings, ctx.saved_tensors, *ctx.given), None, None, None, None


class _Product:
    """``x @ weight.T + bias`` and its gradient for ``x``, for one frozen linear layer or several side by side.

    Where the processor multiplies in bfloat16, both weights are laid out for it once, not at every call: that costs a
    copy of the weight in each direction and saves up to half of the time of small products.
    """

    def __init__(self, *linears: nn.Linear):
        self.weights, self.biases = [m.weight for m in linears], [m.bias for m in linears]
        self.forth = self.back = None
        if self.weights[0].dtype == torch.bfloat16 and self.weights[0].device.type == "cpu" and _packs_bfloat16():
            with torch.inference_mode(False), torch.no_grad():
                joined, self.bias = torch.cat(self.weights), torch.cat(self.biases)
                self.forth = mkldnn._reorder_linear_weight(joined, None)
                self.back = mkldnn._reorder_linear_weight(joined.t().contiguous(), None)

    def output(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """``(rows, in)`` to ``(rows, out)``, `added` included."""
        if self.forth is None:
            parts = [torch.addmm(b, x, w.t()) for w, b in zip(self.weights, self.biases, strict=True)]
            made = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            return made if added is None else made.add_(added)
        if added is None:
            return mkldnn._linear_pointwise(x, self.forth, self.bias, "none", [], "")
        return mkldnn._linear_pointwise.binary(x, added, self.forth, self.bias, "add")

    def gradient(self, d: Tensor, added: Tensor | None = None) -> Tensor:
        """``(rows, out)`` to ``(rows, in)``, `added` included."""
        if self.forth is None:
            for part, weight in zip(d.split([len(w) for w in self.weights], 1), self.weights, strict=True):
                added = torch.mm(part, weight) if added is None else torch.addmm(added, part, weight)
            return added
        if added is None:
            return mkldnn._linear_pointwise(d, self.back, None, "none", [], "")
        return mkldnn._linear_pointwise.binary(d, added, self.back, None, "add")


@functools.cache
def _packs_bfloat16() -> bool:
    """Whether this build and processor have PyTorch's products with weights laid out in advance, in bfloat16."""
    return torch.backends.mkldnn.is_available() and mkldnn._is_mkldnn_bf16_supported()


class _Products:
    """The products of a layer, made when first asked for and made anew when a weight has changed since.

    A change through ``.data`` is not seen: set the layer's ``products`` to None after one.
    """

    def __init__(self, linears: tuple[nn.Linear, ...], state: tuple):
        self.linears, self.state = linears, state

    @functools.cached_property
    def query_key_value(self) -> _Product:
        return _Product(*self.linears[:3])

    @functools.cached_property
    def query(self) -> _Product:
        return _Product(self.linears[0])

    @functools.cached_property
    def key_value(self) -> _Product:
        return _Product(*self.linears[1:3])

    @functools.cached_property
    def attended(self) -> _Product:
        return _Product(self.linears[3])

    @functools.cached_property
    def inside(self) -> _Product:
        return _Product(self.linears[4])

    @functools.cached_property
    def fed(self) -> _Product:
        return _Product(self.linears[5])


def _heads(rows: Tensor, batch: int, heads: int, parts: int) -> Tensor:
    """``(batch * length, parts * hidden)`` to ``(parts, batch * heads, length, hidden of a head)``."""
    split = rows.view(batch, -1, parts, heads, rows.shape[1] // (parts * heads))
    return split.permute(2, 0, 3, 1, 4).reshape(parts, batch * heads, -1, split.shape[-1])


def _rows(split: Tensor, batch: int) -> Tensor:
    """Undo ``_heads``."""
    parts, many, length, width = split.shape
    split = split.view(parts, batch, many // batch, length, width).permute(1, 3, 0, 2, 4)
    return split.reshape(batch * length, parts * width * (many // batch))


def _compute(states, mask, settings, norms, products):
    """Compute a layer; return its output and what its gradient needs."""
    norm_a, shift_a, norm_f, shift_f = norms
    heads, scale, eps_a, eps_f, first = settings
    batch, length, hidden = states.shape
    every = states.reshape(-1, hidden)
    if first:
        rows = states[:, 0].contiguous()
        [q] = _heads(products.query.output(rows), batch, heads, 1)
        k, v = _heads(products.key_value.output(every), batch, heads, 2)
    else:
        rows = every
        q, k, v = _heads(products.query_key_value.output(every), batch, heads, 3)
    if mask is None:
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(scale)
    else:
        mask = mask[:, :, : q.shape[1]].expand(batch, heads, q.shape[1], length)
        scores = mask.clone(memory_format=torch.contiguous_format).flatten(0, 1)
        scores.baddbmm_(q, k.transpose(1, 2), alpha=scale)
    # In float32: more precise, and on a processor twice as fast as in bfloat16.
    p = torch.softmax(scores, -1, dtype=torch.float32).to(states.dtype)
    attended = products.attended.output(_rows(torch.bmm(p, v)[None], batch), rows)
    middle, mean_a, rstd_a = aten.native_layer_norm(attended, [hidden], norm_a, shift_a, eps_a)
    inside = products.inside.output(middle)
    fed = products.fed.output(aten.gelu(inside), middle)
    output, mean_f, rstd_f = aten.native_layer_norm(fed, [hidden], norm_f, shift_f, eps_f)
    return output.view(batch, -1, hidden), (q, k, v, p, attended, mean_a, rstd_a, inside, fed, mean_f, rstd_f)


def _gradient(gradient, shape, settings, kept, norms, products):
    """Give the gradient of the loss with respect to the hidden states, from that with respect to the output."""
    q, k, v, p, attended, mean_a, rstd_a, inside, fed, mean_f, rstd_f = kept
    norm_a, shift_a, norm_f, shift_f = norms
    heads, scale, _, _, first = settings
    batch, _, hidden = shape
    mine = [True, False, False]  # of native_layer_norm_backward: the input's gradient, not the weight's and bias's
    gradient = gradient.reshape(-1, hidden)
    d_fed = aten.native_layer_norm_backward(gradient, fed, [hidden], mean_f, rstd_f, norm_f, shift_f, mine)[0]
    d_inside = aten.gelu_backward(products.fed.gradient(d_fed), inside)
    d_middle = products.inside.gradient(d_inside, d_fed)
    d_rows = aten.native_layer_norm_backward(d_middle, attended, [hidden], mean_a, rstd_a, norm_a, shift_a, mine)[0]
    [d_out] = _heads(products.attended.gradient(d_rows), batch, heads, 1)
    d_p = torch.bmm(d_out, v.transpose(1, 2)).float()
    d_scores = aten._softmax_backward_data(d_p, p.float(), -1, torch.float32).mul_(scale).to(p.dtype)
    d_q, d_k, d_v = torch.bmm(d_scores, k), torch.bmm(d_scores.transpose(1, 2), q), torch.bmm(p.transpose(1, 2), d_out)
    if first:
        d_every = products.key_value.gradient(_rows(torch.stack((d_k, d_v)), batch)).view(shape)
        d_every[:, 0] += products.query.gradient(_rows(d_q[None], batch), d_rows)
        return d_every
    return products.query_key_value.gradient(_rows(torch.stack((d_q, d_k, d_v)), batch), d_rows).view(shape)
