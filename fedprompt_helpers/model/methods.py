"""What is trained: prompt tuning, P-tuning, prefix tuning, LoRA, the head alone, everything."""

import inspect
import warnings

import peft
import torch
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

from ..config import METHODS, PROMPT_INITS
from ..errors import FedPromptError, check_choice

# PEFT asks Transformers a question that Transformers has renamed; nothing a reader could mend.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")

STARTS = {"vocabulary": peft.PromptTuningInit.SAMPLE_VOCAB, "random": peft.PromptTuningInit.RANDOM}
"""Where prompt tuning starts, and PEFT's name for it."""
HEADS = ("classifier", "pre_classifier", "score", "pooler", "head")
"""What the parts of a classification head are called, beside the encoder; Transformers has no one name for them."""
LORA_TARGETS = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING | {
    "distilbert": ["q_lin", "v_lin"],
    "modernbert": ["Wqkv"],
    "mpnet": ["attn.q", "attn.v"],
}
"""The query and value matrices by type of model: PEFT's table, and types that it lacks. Else: query and value."""


class MethodNotAvailable(FedPromptError):
    """A method that cannot be put on this type of backbone."""


def prepare(
    model: torch.nn.Module,
    method: str,
    *,
    virtual_tokens: int = 8,
    prompt_init: str = "vocabulary",
    lora_rank: int = 8,
    seed: int = 0,
) -> torch.nn.Module:
    """Add what `method` trains to a backbone and freeze the rest.

    Parameters
    ----------
    model : torch.nn.Module
        A sequence classification model from ``load_backbone``.
    method : str
        One of ``config.METHODS``. Prompt tuning (Lester et al. 2021) trains the virtual tokens themselves, P-tuning
        (Liu et al. 2021) a small network that makes them, prefix tuning (Li and Liang 2021) keys and values of every
        layer, LoRA (Hu et al. 2022) low-rank changes of the query and value matrices. All also train the head.
    virtual_tokens : int
        How many virtual tokens the three prompt methods put before the text, at least 1.
    prompt_init : str
        Where prompt tuning starts: ``"vocabulary"``, the vectors of words drawn from the vocabulary (Lester et al.
        2021, section 3.2), or ``"random"``, PEFT's default: normal vectors, many times as long as a word's, which
        hardly turn at the learning rates used here. The other methods do not use it.
    lora_rank : int
        Rank of LoRA's matrices.
    seed : int
        Governs the initial values of what is trained. Clients whose arrays are averaged must start alike.

    Returns
    -------
    torch.nn.Module
        A model whose parameters with ``requires_grad`` are just what is trained, in float32.

    Raises
    ------
    FedPromptError
        If the method or `prompt_init` is unknown, or `virtual_tokens` is below 1.
    MethodNotAvailable
        If the method cannot be had on this architecture.
    """
    check_choice("method", method, METHODS)
    check_choice("prompt_init", prompt_init, PROMPT_INITS)
    if virtual_tokens < 1:
        raise FedPromptError(f"virtual_tokens is {virtual_tokens}; a prompt needs at least 1 virtual token")
    heads = [name for name in HEADS if hasattr(model, name)]
    if not heads:
        raise _not_available(model, method, f"it has no classification head called {' or '.join(HEADS)}")
    common = {"task_type": peft.TaskType.SEQ_CLS, "modules_to_save": [f".{name}" for name in heads]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if method == "lora":
            targets = LORA_TARGETS.get(model.config.model_type, ["query", "value"])
            config = peft.LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules=targets, **common)
        elif method in ("head", "full"):
            config = None
            model.requires_grad_(method == "full")
            for name in heads:
                getattr(model, name).requires_grad_(True)
        else:
            config = _prompt_config(model, method, virtual_tokens, STARTS[prompt_init], common)
        try:
            prepared = peft.get_peft_model(model, config) if config else model
        except (ValueError, AttributeError) as error:
            raise _not_available(model, method, str(error)) from error
    for parameter in prepared.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for head in (getattr(model, name) for name in heads):
        if not getattr(head, "takes_float32", False):
            head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
            head.takes_float32 = True
    return prepared.eval()


def _prompt_config(
    model: torch.nn.Module, method: str, virtual_tokens: int, start: peft.PromptTuningInit, common: dict
) -> peft.PeftConfig:
    """Say for PEFT what the virtual tokens are; it does not find the sizes of every backbone by itself."""
    common = common | {"num_virtual_tokens": virtual_tokens}
    if method == "prefix-tuning":
        forwards = (model.forward, model.base_model.forward)
        if not any("past_key_values" in inspect.signature(forward).parameters for forward in forwards):
            raise _not_available(model, method, "its layers take no keys and values from outside")
        return peft.PrefixTuningConfig(**common)
    common |= {
        "token_dim": model.get_input_embeddings().embedding_dim,  # not always the hidden size
        "num_layers": model.config.num_hidden_layers,
        "num_attention_heads": model.config.num_attention_heads,
    }
    if method == "prompt-tuning":
        return peft.PromptTuningConfig(prompt_tuning_init=start, **common)
    return peft.PromptEncoderConfig(encoder_hidden_size=128, **common)


def _not_available(model: torch.nn.Module, method: str, why: str) -> MethodNotAvailable:
    return MethodNotAvailable(
        f"{method} is not available for a backbone of type {model.config.model_type!r}: {why}; take another method "
        "or another backbone"
    )
