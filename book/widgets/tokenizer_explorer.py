"""See how a tokenizer cuts commands, language by language."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.plots import PALETTE

from .base import Tell, Widget

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def cut(tokenizer: "PreTrainedTokenizerBase", text: str) -> dict:
    """Cut a text: ``text``, ``pieces``, how many ``words`` stand between spaces, and ``characters`` of Unicode.

    For each token, but those of start and end, its piece as text, its number, and which word it belongs to, from 0.
    """
    words = len(text.split())
    if not words:
        raise FedPromptError(f"the text {text!r} has no words; give the explorer commands with at least one word")
    if not tokenizer.is_fast:
        raise FedPromptError(f"{type(tokenizer).__name__} does not tell where its tokens are; take load_backbone's")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pieces = []
    for number, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        # A mark for a space alone belongs to the word that it opens, like the mark in front of a piece.
        at = next((i for i in range(start, len(text)) if not text[i].isspace()), end - 1)
        piece = text[start:end].strip() if number == tokenizer.unk_token_id else None
        pieces.append([piece or tokenizer.convert_ids_to_tokens(number), number, len(text[: at + 1].split()) - 1])
    return {"text": text, "pieces": pieces, "words": words, "characters": len(text)}


def tokenizer_explorer(
    tokenizer: "PreTrainedTokenizerBase", commands: Mapping[str, Mapping], *, names: Mapping[str, str] | None = None
) -> Widget:
    """Show the tokens of a command as boxes, one colour a word; live, also those of any sentence that is typed.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        One with offsets, such as that of ``load_backbone``.
    commands : mapping of str to mapping of str to str
        For each language code, its own commands by kind: ``{"en": {"weather": "what is the weather"}}``.
    names : mapping of str to str, optional
        What to call the languages; a code without a name stands for itself.
    """
    if empty := [code for code, kinds in commands.items() if not kinds]:
        raise FedPromptError(f"no command in {', '.join(empty)}; give each language one, or leave the language out")
    if not commands:
        raise FedPromptError('no language to show; give for example {"en": {"weather": "what is the weather"}}')
    rows = [{"code": code, "name": (names or {}).get(code, code)} for code in commands]
    cuts = {code: {kind: cut(tokenizer, text) for kind, text in kinds.items()} for code, kinds in commands.items()}
    languages = {row["code"]: {"name": row["name"], "commands": cuts[row["code"]]} for row in rows}
    data = {"palette": PALETTE, "languages": languages}

    def reply(tell: Tell, text: str) -> None:
        tell(cut(tokenizer, text))

    return Widget("fp-tok", "tokenizer_explorer", data, reply=reply, languages=rows)
