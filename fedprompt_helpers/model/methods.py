"""What is trained: prompt tuning, P-tuning, prefix tuning, LoRA, the head alone, everything."""

import inspect
import warnings

import peft
import torch
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from transformers.modeling_outputs import BaseModelOutput

from ..config import CHOICES
from ..errors import FedPromptError, check_choice

# PEFT asks Transformers a question that Transformers has renamed; nothing a reader could mend.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")

# Where prompt tuning starts, and PEFT's name for it.
STARTS = {"vocabulary": peft.PromptTuningInit.SAMPLE_VOCAB, "random": peft.PromptTuningInit.RANDOM}
# What the parts of a classification head are called, beside the encoder; Transformers has no one name for them.
HEADS = ("classifier", "pre_classifier", "score", "pooler", "head")
# The query and value matrices by type of model: PEFT's table, and types that it lacks. Else: query and value.
LORA_TARGETS = {"distilbert": ["q_lin", "v_lin"], "modernbert": ["Wqkv"], "mpnet": ["attn.q", "attn.v"]}
LORA_TARGETS = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING | LORA_TARGETS


class MethodNotAvailable(FedPromptError):
    """A method that cannot be put on this type of backbone."""

    def __init__(self, model: torch.nn.Module, method: str, why: str):
        what = f"{method} is not available for a backbone of type {model.config.model_type!r}"
        super().__init__(f"{what}: {why}; take another method or another backbone")


def prepare(
    model: torch.nn.Module, method: str, *, virtual_tokens: int = 8, prompt_init: str = "vocabulary",
    lora_rank: int = 8, seed: int = 0,
) -> torch.nn.Module:  # fmt: skip
    """Add what `method` trains, in float32, to a backbone and freeze the rest; chapters 2 and 3 build two by hand.

    An unknown value, or no virtual token, is a FedPromptError; what this architecture cannot have, MethodNotAvailable.

    Parameters
    ----------
    model, method : torch.nn.Module, str
        From ``load_backbone``; one of ``config.METHODS``. Prompt tuning (Lester et al. 2021) trains the virtual tokens
        themselves, P-tuning (Liu et al. 2021) a small network that makes them, prefix tuning (Li and Liang 2021) keys
        and values of every layer, LoRA (Hu et al. 2022) low-rank changes of the query and value matrices. All also
        train the head.
    prompt_init : str
        Where prompt tuning starts: ``"vocabulary"``, the vectors of words drawn from it (Lester et al. 2021, section
        3.2), or ``"random"``, PEFT's normal vectors, many times as long, which hardly turn at our learning rates.
    virtual_tokens, lora_rank, seed : int
        Of the prompt methods, at least 1; of LoRA's matrices; and what governs the initial values of all that is
        trained: clients whose arrays are averaged must start alike.
    """
    check_choice("method", method, CHOICES["method"])
    check_choice("prompt_init", prompt_init, CHOICES["prompt_init"])
    if virtual_tokens < 1:
        raise FedPromptError(f"virtual_tokens is {virtual_tokens}; a prompt needs at least 1 virtual token")
    heads = [name for name in HEADS if hasattr(model, name)]
    if not heads:
        raise MethodNotAvailable(model, method, f"it has no classification head called {' or '.join(HEADS)}")
    if isinstance(getattr(model, "classifier", None), MeanHead):
        model.classifier.virtual_tokens = virtual_tokens if method in ("prompt-tuning", "p-tuning") else 0
    tokens = type(model).__name__.endswith("ForTokenClassification")
    if method == "head" and (tokens or isinstance(getattr(model, "classifier", None), MeanHead)):
        remember(model, pooled=not tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if method in ("head", "full"):
            prepared = model.requires_grad_(method == "full")
            for name in heads:
                getattr(model, name).requires_grad_(True)
        else:
            config = _peft_config(model, method, virtual_tokens, STARTS[prompt_init], lora_rank)
            config.task_type = peft.TaskType.TOKEN_CLS if tokens else peft.TaskType.SEQ_CLS
            config.modules_to_save = [f".{name}" for name in heads]
            try:
                prepared = peft.get_peft_model(model, config)
            except (ValueError, AttributeError) as error:
                raise MethodNotAvailable(model, method, str(error)) from error
    for parameter in prepared.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for name in heads:
        getattr(model, name).register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
    return prepared.eval()


def _peft_config(model: torch.nn.Module, method: str, tokens: int, start, rank: int) -> peft.PeftConfig:
    """Say for PEFT what is added; it does not find the sizes of every backbone by itself."""
    if method == "lora":
        targets = LORA_TARGETS.get(model.config.model_type, ["query", "value"])
        return peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)
    if method == "prefix-tuning":
        forwards = (model.forward, model.base_model.forward)
        if not any("past_key_values" in inspect.signature(forward).parameters for forward in forwards):
            raise MethodNotAvailable(model, method, "its layers take no keys and values from outside")
        return peft.PrefixTuningConfig(num_virtual_tokens=tokens)
    own, width = model.config, model.get_input_embeddings().embedding_dim  # not always the hidden size
    sizes = {"num_virtual_tokens": tokens, "token_dim": width}
    sizes |= {"num_layers": own.num_hidden_layers, "num_attention_heads": own.num_attention_heads}
    if method == "prompt-tuning":
        return peft.PromptTuningConfig(prompt_tuning_init=start, **sizes)
    return peft.PromptEncoderConfig(encoder_hidden_size=128, **sizes)


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


# By backbone, data type and pooling: token ids to their vectors, or to the mean of these.
_KNOWN: dict[tuple, dict] = {}
MOST_KNOWN = 8_000  # texts whose vectors are all kept: some 35 kB each


def remember(model: torch.nn.Module, *, pooled: bool) -> None:
    """Let an encoder that nothing before the head changes compute each text once in a process, not once an epoch."""
    encoder = model.base_model
    kind = model.config.name_or_path, next(encoder.parameters()).dtype, pooled  # the head has a data type of its own
    compute, known = encoder.forward, _KNOWN.setdefault(kind, {})

    def look_up(input_ids: torch.Tensor, attention_mask: torch.Tensor, **named) -> BaseModelOutput:
        texts = [tuple(row[kept.bool()].tolist()) for row, kept in zip(input_ids, attention_mask, strict=True)]
        if not pooled and len(known) > MOST_KNOWN:
            known.clear()
        new = [i for i, text in enumerate(texts) if text not in known]
        if new:
            with torch.no_grad():
                mask = attention_mask[new]
                found = compute(input_ids[new], attention_mask=mask, **named)
                found = (_mean(found, mask, model.classifier) if pooled else found).last_hidden_state.cpu()
            kept = found if pooled else [row[: len(texts[i])].clone() for i, row in zip(new, found, strict=True)]
            known.update(zip((texts[i] for i in new), kept, strict=True))
        rows = torch.nn.utils.rnn.pad_sequence([known[text] for text in texts], batch_first=True)
        return BaseModelOutput(last_hidden_state=rows.to(input_ids.device))

    encoder.forward = look_up
