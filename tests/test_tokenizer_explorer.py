"""The tokenizer explorer without a browser, on the real tokenizer: what is embedded is what the tokenizer does."""

import re

import pytest

from book.widgets.tokenizer_explorer import cut, tokenizer_explorer
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model.pocket import load_tokenizer, pocket_folder
from tests.pages import Page
from tests.sentences import BOOK, WATER

COMMANDS = {
    code: {"water": WATER[code], "book": BOOK[code]} if code != "sw" else {"book": BOOK[code]} for code in WATER
}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(pocket_folder())


@pytest.fixture(scope="module")
def page(tokenizer):
    return tokenizer_explorer(tokenizer, COMMANDS, names={"en": "English", "zh": "Chinese"}).html


def test_the_boxes_are_the_tokens_that_the_encoder_sees(tokenizer, page):
    languages = Page(page).payload()["languages"]
    assert list(languages) == list(COMMANDS) and list(languages["sw"]["commands"]) == ["book"]
    for code, kinds in COMMANDS.items():
        for kind, text in kinds.items():
            stored = languages[code]["commands"][kind]
            assert stored["text"] == text
            assert [number for _, number, _ in stored["pieces"]] == tokenizer(text)["input_ids"][1:-1]
            assert [piece for piece, _, _ in stored["pieces"]] == tokenizer.tokenize(text)


def test_pieces_are_sorted_into_words(tokenizer):
    for text in (*WATER.values(), *BOOK.values()):
        found = cut(tokenizer, text)
        assert found["words"] == len(text.split()) and found["characters"] == len(text)
        joined = [""] * found["words"]
        for piece, _, word in found["pieces"]:
            joined[word] += piece.removeprefix("▁")
        plain = [tokenizer.backend_tokenizer.normalizer.normalize_str(word) for word in text.split()]
        assert joined == plain, text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cén t-am é", [0, 0, 1, 1, 1, 2]),  # a mark for the start alone, then the rest of the word
        ("  what   time ", [0, 1, 1]),  # the tokenizer gives a space at the end a token
        ("现在几点了", [0, 0, 0, 0, 0]),  # without spaces: one word
    ],
)
def test_which_word_a_token_belongs_to(tokenizer, text, words):
    assert [word for _, _, word in cut(tokenizer, text)["pieces"]] == words


def test_a_character_outside_the_vocabulary_is_shown_as_it_was_written(tokenizer):
    found = cut(tokenizer, "turn 𓀀 on")
    assert ["𓀀", tokenizer.unk_token_id, 1] in found["pieces"]


def test_the_kernel_cuts_what_is_typed_and_says_what_it_cannot(tokenizer):
    widget = tokenizer_explorer(tokenizer, COMMANDS)
    widget.ask = {"text": "Wie spät ist es?"}
    assert widget.answer == {"to": widget.ask, **cut(tokenizer, "Wie spät ist es?")}
    widget.ask = {"text": " "}
    assert widget.answer.keys() == {"to", "error"} and "has no words" in widget.answer["error"]


def test_small_the_same_every_time_and_without_network(tokenizer, page):
    again = tokenizer_explorer(tokenizer, COMMANDS, names={"en": "English", "zh": "Chinese"}).html
    assert again == page
    assert len(page.encode()) < 20_000
    assert not re.search(r"https?:|//cdn|\bid=|\burl\(|import\(|fetch\(", page)


def test_both_choices_are_named_and_reached_by_keyboard(page):
    found = Page(page)
    selects = [attributes for tag, attributes in found.tags if tag == "select"]
    assert [select["name"] for select in selects] == ["language", "command"]
    assert all("tabindex" not in select and "disabled" not in select for select in selects)
    tags = [tag for tag, _ in found.tags]
    assert all(tags[i - 1] == "label" for i, tag in enumerate(tags) if tag == "select")
    assert re.findall(r"<label>(\w+) <select", page) == ["Language", "Command"]
    assert [a["value"] for tag, a in found.tags if tag == "option"] == list(COMMANDS)
    assert '<option value="zh">Chinese</option><' in page and '<option value="am">am</option>' in page
    assert any(attributes.get("aria-live") == "polite" for _, attributes in found.tags)


def test_texts_and_names_cannot_become_markup(tokenizer):
    evil = "</script><img src=x onerror=alert(1)>"
    commands = {'"><img src=y>': {evil: evil}}
    found = Page(tokenizer_explorer(tokenizer, commands, names={'"><img src=y>': "<img src=z>"}).html)
    assert "img" not in [tag for tag, _ in found.tags]
    (language,) = found.payload()["languages"].values()
    assert language["name"] == "<img src=z>" and language["commands"][evil]["text"] == evil


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ({}, "no language to show"),
        ({"en": {"time": "what time is it"}, "cy": {}}, "no command in cy"),
        ({"en": {"time": "  "}}, "'  ' has no words"),
    ],
)
def test_mistakes_are_told(tokenizer, commands, message):
    with pytest.raises(FedPromptError, match=message):
        tokenizer_explorer(tokenizer, commands)


def test_a_tokenizer_without_offsets_is_refused():
    from transformers import PreTrainedTokenizer

    class Slow(PreTrainedTokenizer):
        vocab_size = 0

        def get_vocab(self):
            return {}

    with pytest.raises(FedPromptError, match="Slow does not tell where"):
        cut(Slow(), "what time is it")
