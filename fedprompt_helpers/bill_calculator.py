"""A calculator of what a federation sends: inline HTML, no kernel, no network.

The formula, which stands once more in JavaScript in ``_FORMULA`` (a test holds the two against each other)::

    update = up * numbers
    total  = clients * rounds * ((1 + scoring) * down + up) * numbers
    whole  = clients * rounds * (2 + scoring) * 4 * model

``numbers`` are trained, ``model`` is all of the pretrained model with its head. ``down`` and ``up`` are the bytes of a
number to a client and back, see ``WIDTHS``. ``scoring`` is 1 if clients score after every round, for which the arrays
travel down once more, else 0. ``whole`` sends the whole model in the same messages in float32. Names, shapes and
headers, int8's one scale an array, the replies with scores, and the first download of the backbone come on top.
"""

import html
import tempfile

from IPython.display import HTML
from transformers import XLMRobertaConfig

from .accounting import XLM_ROBERTA_BASE, count_without_weights
from .errors import FedPromptError
from .inline import inline_widget
from .methods import METHODS

WIDTHS = {"float32": (4, 4), "float16": (2, 2), "int8": (2, 1)}
"""Bytes of a number, down and up, by precision of updates: ``updates.round_for_sending``, ``updates.pack_update``."""

XLM_ROBERTA_LARGE = XLM_ROBERTA_BASE | {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
"""Sizes of FacebookAI/xlm-roberta-large, from its config.json (Conneau et al. 2020: 24 layers, 1024 wide, 550 M)."""

_LIMIT = 100_000  # of clients, and of rounds
_BACKBONES = {"pocket": "pocket (e5-small)", "base": "XLM-R base", "large": "XLM-R large"}
_NAMES = {
    "prompt-tuning": "prompt tuning",
    "p-tuning": "P-tuning",
    "prefix-tuning": "prefix tuning",
    "lora": "LoRA, rank 8",
    "head": "head alone",
    "full": "full fine-tuning",
}
_RESULTS = {
    "trained": "trained numbers",
    "update": "one update",
    "total": "whole federation, both ways",
    "share": "of sending whole models",
}

_FORMULA = """
const bill = (numbers, model, clients, rounds, scoring, [down, up]) => ({
  update: up * numbers,
  total: clients * rounds * ((1 + scoring) * down + up) * numbers,
  whole: clients * rounds * (2 + scoring) * 4 * model,
});
"""

_STYLE = """
div:has(>.fp-bill){background:transparent!important;color:inherit!important}
.fp-bill{color:inherit;background:transparent;max-width:46rem;font-size:.95em;line-height:1.5}
.fp-bill form{display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;margin:0}
.fp-bill label{display:inline-flex;gap:.5rem;align-items:center;font-weight:600;margin:0}
.fp-bill select,.fp-bill input[type=number]{font:inherit;font-weight:400;color:inherit;background:transparent;
border:1px solid currentColor;border-radius:.25rem;padding:.15rem .3rem;max-width:100%}
.fp-bill input[type=number]{width:5.5rem}
.fp-bill input[type=checkbox]{accent-color:#0072B2;margin:0}
.fp-bill option{color:#000;background:#fff}
.fp-bill dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.5rem 1.2rem;margin:.8rem 0}
.fp-bill dl[hidden]{display:none}
.fp-bill dt{font-weight:400;font-size:.9em}
.fp-bill dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums}
.fp-bill .fp-bar{height:.9rem;border:1px solid currentColor}
.fp-bill i{display:block;height:100%;min-width:1px;background:#D55E00;forced-color-adjust:none;print-color-adjust:exact}
.fp-bill p{margin:.3rem 0}
.fp-bill table{font-size:.85em;border-collapse:collapse;display:block;overflow-x:auto}
.fp-bill td,.fp-bill th{padding:.1rem .5rem;text-align:right;font-variant-numeric:tabular-nums}
.fp-bill th:first-child{text-align:left}
"""

_SCRIPT = """
for (const root of document.querySelectorAll('.fp-bill:not([data-ready])')) {
  root.dataset.ready = '1';
  const {counts, widths, limit} = JSON.parse(root.querySelector('script').textContent);
  const form = root.querySelector('form'), field = form.elements;
  const put = (name, text) => { root.querySelector('.fp-' + name).textContent = text; };
  const exact = n => n.toLocaleString('en');
  const rough = n => {
    const [size, unit] = [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB'], [1, 'bytes']].find(([s]) => n >= s);
    return (n / size).toLocaleString('en', {maximumSignificantDigits: 4}) + ' ' + unit;
  };
  const draw = () => {
    const clients = Number(field.clients.value), rounds = Number(field.rounds.value);
    const whole = n => Number.isInteger(n) && n >= 1 && n <= limit;
    root.querySelector('dl').hidden = !(whole(clients) && whole(rounds));
    if (root.querySelector('dl').hidden) {
      put('said', `Clients and rounds: whole numbers from 1 to ${exact(limit)}, please.`);
      root.querySelector('i').style.width = 0;
      return;
    }
    const of = counts[field.backbone.value], numbers = of[field.method.value], model = of.full;
    const found = bill(numbers, model, clients, rounds, field.scoring.checked ? 1 : 0, widths[field.precision.value]);
    const share = 100 * found.total / found.whole, percent = n => n.toPrecision(3) + '%';
    put('trained', `${exact(numbers)} of ${exact(model)}`);
    put('update', `${exact(found.update)} bytes`);
    put('total', rough(found.total));
    put('share', percent(share));
    put('said', `Whole models in float32, in the same messages: ${rough(found.whole)}. `
      + `One update is ${percent(25 * found.update / model)} of one whole model.`);
    root.querySelector('i').style.width = share + '%';
    root.querySelector('.fp-bar').setAttribute('aria-label', percent(share) + ' of sending whole models');
  };
  for (const input of form.elements) input.dataset.lmSuppressShortcuts = '';  // JupyterLab wants the arrow keys too
  form.addEventListener('input', draw);
  form.addEventListener('submit', event => event.preventDefault());
  draw();
}
"""


def bill(numbers: int, model: int, clients: int, rounds: int, scoring: int, widths: tuple[int, int]) -> dict[str, int]:
    """Compute ``update``, ``total`` and ``whole`` in bytes, by the formula that stands at the top of this module."""
    down, up = widths
    total = clients * rounds * ((1 + scoring) * down + up) * numbers
    return {"update": up * numbers, "total": total, "whole": clients * rounds * (2 + scoring) * 4 * model}


def trained_numbers(num_labels: int = 12, virtual_tokens: int = 8) -> dict[str, dict[str, int]]:
    """Count what every method trains on every backbone of the calculator, without loading a weight.

    Parameters
    ----------
    num_labels, virtual_tokens : int
        As in ``accounting.count_without_weights``, which also refuses what cannot be.

    Returns
    -------
    dict of str to dict of str to int
        Backbone (``"pocket"``, ``"base"``, ``"large"``) to method to trainable parameters; ``"full"`` trains all.
    """
    counts, sizes = {}, {"num_labels": num_labels, "virtual_tokens": virtual_tokens}
    with tempfile.TemporaryDirectory() as folder:
        XLMRobertaConfig(**XLM_ROBERTA_LARGE).save_pretrained(folder)
        for key, name in {"pocket": "pocket", "base": "FacebookAI/xlm-roberta-base", "large": folder}.items():
            counts[key] = {m: count_without_weights(name, m, **sizes)["trainable"] for m in METHODS}
    return counts


def _select(name: str, title: str, choices: dict[str, str], chosen: str) -> str:
    options = "".join(
        f'<option value="{key}"{" selected" if key == chosen else ""}>{html.escape(text)}</option>'
        for key, text in choices.items()
    )
    return f'<label>{title}<select name="{name}">{options}</select></label>'


def bill_calculator(*, num_labels: int = 12, virtual_tokens: int = 8, clients: int = 5, rounds: int = 20) -> HTML:
    """Show what a federation sends, for a backbone, a method, clients, rounds and a precision to choose.

    Parameters
    ----------
    num_labels, virtual_tokens : int
        Classes of the head, and virtual tokens of the prompt methods.
    clients, rounds : int
        What the fields hold at first.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    FedPromptError
        If a number is below 1, or there are fewer than 2 labels.
    """
    controls = _select("backbone", "backbone", _BACKBONES, "pocket") + _select("method", "method", _NAMES, "p-tuning")
    for name, value in {"clients": clients, "rounds": rounds}.items():
        if not 1 <= value <= _LIMIT:
            raise FedPromptError(f"{name} is {value}; give a whole number from 1 to {_LIMIT:,}, for example 5")
        controls += f'<label>{name}<input type="number" name="{name}" min="1" max="{_LIMIT}" value="{value}"></label>'
    counts = trained_numbers(num_labels, virtual_tokens)
    controls += _select("precision", "updates in", {name: name for name in WIDTHS}, "float32")
    controls += '<label><input type="checkbox" name="scoring" checked>clients score after every round</label>'
    results = "".join(f'<div><dt>{text}</dt><dd class="fp-{name}"></dd></div>' for name, text in _RESULTS.items())
    head = "".join(f'<th scope="col">{text}</th>' for text in ("method", *_BACKBONES.values()))
    rows = {name: "".join(f"<td>{of[m]:,}</td>" for of in counts.values()) for m, name in _NAMES.items()}
    body = "".join(f'<tr><th scope="row">{name}</th>{cells}</tr>' for name, cells in rows.items())
    seen = (
        f'<form aria-label="The bill of a federation">{controls}</form><div aria-live="polite"><dl>{results}</dl>'
        '<p class="fp-said"></p></div><div class="fp-bar" role="img"><i></i></div>'
        f"<details><summary>Trained numbers: {num_labels} labels, {virtual_tokens} virtual tokens</summary>"
        f"<table><tr>{head}</tr>{body}</table></details><noscript>The calculator needs JavaScript.</noscript>"
    )
    return inline_widget(
        "fp-bill",
        style=_STYLE,
        data={"counts": counts, "widths": WIDTHS, "limit": _LIMIT},
        body=seen,
        script=f"{{{_FORMULA}{_SCRIPT}}}",
    )
