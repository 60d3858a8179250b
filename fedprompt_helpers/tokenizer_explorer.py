"""See how a tokenizer cuts commands, language by language: inline HTML, no kernel, no network."""

import html
from collections.abc import Mapping
from itertools import accumulate

from IPython.display import HTML
from transformers import PreTrainedTokenizerBase

from .errors import FedPromptError
from .inline import inline_widget
from .plots import PALETTE

_STYLE = """
div:has(>.fp-tok){background:transparent!important;color:inherit!important}
.fp-tok{color:inherit;background:transparent;max-width:46rem;font-size:.95em;line-height:1.5}
.fp-tok form{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;margin:0}
.fp-tok label{display:inline-flex;gap:.5rem;align-items:center;font-weight:600;margin:0}
.fp-tok select{font:inherit;font-weight:400;color:inherit;background:transparent;border:1px solid currentColor;
border-radius:.25rem;padding:.15rem .3rem;max-width:100%}
.fp-tok option{color:#000;background:#fff}
.fp-tok p{margin:.7rem 0 .2rem}
.fp-tok .fp-text{font-size:1.15em}
.fp-tok ol{list-style:none;display:flex;flex-wrap:wrap;gap:.35rem;margin:.2rem 0;padding:0}
.fp-tok li{margin:0;padding:.1rem .45rem;border:1px solid currentColor;border-bottom:.3rem solid var(--c);
border-radius:.25rem;background:color-mix(in srgb,var(--c) 22%,transparent);text-align:center;
forced-color-adjust:none;print-color-adjust:exact}
.fp-tok li small{display:block;font-size:.7em;opacity:.85;font-variant-numeric:tabular-nums}
.fp-tok .fp-first:not(:first-child){margin-inline-start:.7rem}
.fp-tok table{font-size:.85em;border-collapse:collapse;display:block;overflow-x:auto}
.fp-tok td,.fp-tok th{padding:.1rem .5rem;text-align:right;font-variant-numeric:tabular-nums}
.fp-tok th:first-child{text-align:left}
.fp-tok tr[aria-current]{font-weight:700}
"""

_SCRIPT = """
for (const root of document.querySelectorAll('.fp-tok:not([data-ready])')) {
  root.dataset.ready = '1';
  const {palette, languages} = JSON.parse(root.querySelector('script').textContent);
  const form = root.querySelector('form'), {language, command} = form.elements;
  const at = name => root.querySelector('.fp-' + name);
  const add = (parent, tag, text = '') => {
    const node = parent.appendChild(document.createElement(tag));
    node.textContent = text;
    return node;
  };
  const count = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;
  const numbers = cut => [cut.pieces.length, cut.words, (cut.pieces.length / cut.words).toFixed(2), cut.characters];
  const list = () => {  // the commands of a language; keep the kind that is shown if the language has it
    const kept = command.value, kinds = Object.keys(languages[language.value].commands);
    command.replaceChildren();
    for (const kind of kinds) add(command, 'option', kind).value = kind;
    command.value = kinds.includes(kept) ? kept : kinds[0];
  };
  const draw = () => {
    const cut = languages[language.value].commands[command.value];
    for (const part of ['text', 'tokens']) at(part).lang = language.value;
    at('text').textContent = cut.text;
    at('tokens').replaceChildren();
    cut.pieces.forEach(([piece, id, word], i) => {
      const box = add(at('tokens'), 'li', piece);
      box.classList.toggle('fp-first', i === 0 || word !== cut.pieces[i - 1][2]);
      box.style.setProperty('--c', palette[word % palette.length]);
      box.title = `token ${i + 1} of ${cut.pieces.length}, number ${id} in the vocabulary, in word ${word + 1}`;
      add(box, 'small', id);
    });
    const [tokens, words, rate, characters] = numbers(cut);
    at('said').textContent = `${count(tokens, 'token')} for ${count(words, 'word')}: ${rate} tokens per word. `
      + `${count(characters, 'character')}: ${(characters / tokens).toFixed(2)} characters per token.`;
    at('table').replaceChildren();
    const head = add(at('table'), 'tr');
    for (const name of ['language', 'tokens', 'words', 'tokens per word', 'characters']) {
      add(head, 'th', name).scope = 'col';
    }
    for (const [code, {name, commands}] of Object.entries(languages)) {
      if (!commands[command.value]) continue;
      const row = add(at('table'), 'tr');
      if (code === language.value) row.setAttribute('aria-current', 'true');
      add(row, 'th', name).scope = 'row';
      for (const value of numbers(commands[command.value])) add(row, 'td', value);
    }
    root.querySelector('summary').textContent = `${command.value} in every language`;
  };
  for (const input of form.elements) input.dataset.lmSuppressShortcuts = '';  // JupyterLab wants the arrow keys too
  language.addEventListener('change', () => { list(); draw(); });
  command.addEventListener('change', draw);
  form.addEventListener('submit', event => event.preventDefault());
  list();
  draw();
}
"""


def cut(tokenizer: PreTrainedTokenizerBase, text: str) -> dict:
    """Cut one text, without the tokens that mark its start and end.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        One with offsets, such as that of ``backbones.load_backbone``.
    text : str
        Words are what stands between spaces.

    Returns
    -------
    dict
        ``text``, ``pieces`` (for each token its piece as text, its number in the vocabulary, and which word it
        belongs to, from 0), ``words`` and ``characters`` (code points of Unicode).

    Raises
    ------
    FedPromptError
        If there is no word in the text, or the tokenizer cannot say where its tokens are.
    """
    words = len(text.split())
    if not words:
        raise FedPromptError(f"the text {text!r} has no words; give the explorer commands with at least one word")
    if not tokenizer.is_fast:
        raise FedPromptError(
            f"{type(tokenizer).__name__} does not tell where its tokens are; load a fast tokenizer, for example by "
            "load_backbone"
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    # The word of each character: one more at each first character after a space.
    starts = [not mark.isspace() and (i == 0 or text[i - 1].isspace()) for i, mark in enumerate(text)]
    word = [max(number - 1, 0) for number in accumulate(starts)]
    pieces = []
    for number, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        # A mark for a space alone belongs to the word that it opens, like the mark in front of a piece.
        at = next((i for i in range(start, len(text)) if not text[i].isspace()), end - 1)
        piece = text[start:end].strip() if number == tokenizer.unk_token_id else None
        pieces.append([piece or tokenizer.convert_ids_to_tokens(number), number, word[at]])
    return {"text": text, "pieces": pieces, "words": words, "characters": len(text)}


def tokenizer_explorer(
    tokenizer: PreTrainedTokenizerBase,
    commands: Mapping[str, Mapping[str, str]],
    *,
    names: Mapping[str, str] | None = None,
) -> HTML:
    """Show the tokens of a command as boxes, one colour a word, with a choice of language and command.

    Every command is cut beforehand and stored in the output. So it works without a kernel and without a network.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        One with offsets, such as that of ``backbones.load_backbone``.
    commands : mapping of str to mapping of str to str
        For each language code, its commands by kind: ``{"en": {"weather": "what is the weather"}}``. Languages need
        not have the same kinds.
    names : mapping of str to str, optional
        What to call the languages; a code without a name stands for itself.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    FedPromptError
        If there is no language, a language has no command, a command has no word, or the tokenizer cannot say where
        its tokens are.
    """
    if empty := [code for code, kinds in commands.items() if not kinds]:
        raise FedPromptError(f"no command in {', '.join(empty)}; give each language one, or leave the language out")
    if not commands:
        raise FedPromptError('no language to show; give for example {"en": {"weather": "what is the weather"}}')
    names = {} if names is None else names
    languages = {
        code: {
            "name": names.get(code, code),
            "commands": {kind: cut(tokenizer, text) for kind, text in kinds.items()},
        }
        for code, kinds in commands.items()
    }
    data = {"palette": PALETTE, "languages": languages}
    options = "".join(
        f'<option value="{html.escape(code)}">{html.escape(body["name"])}</option>' for code, body in languages.items()
    )
    seen = (
        '<form aria-label="Tokenizer explorer">'
        f'<label>Language <select name="language">{options}</select></label>'
        '<label>Command <select name="command"></select></label></form>'
        '<p class="fp-text" dir="auto"></p><ol class="fp-tokens" dir="auto" aria-label="Tokens"></ol>'
        '<p class="fp-said" aria-live="polite"></p><details><summary></summary>'
        '<table class="fp-table"></table></details><noscript>The choice needs JavaScript.</noscript>'
    )
    return inline_widget("fp-tok", style=_STYLE, data=data, body=seen, script=_SCRIPT)
