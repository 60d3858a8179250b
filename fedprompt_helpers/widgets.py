"""Interactive pictures that work in a live notebook and in a static page: inline HTML, no kernel, no network."""

import html
from collections.abc import Sequence

from IPython.display import HTML

from .errors import FedPromptError
from .inline import inline_widget
from .partition import counts, mean_total_variation, partition
from .plots import PALETTE
from .tasks import Task

ALPHAS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Dirichlet concentrations in about equal steps on a log scale."""

_CHOICES = {
    "scheme": ("Partition", {
        "dirichlet-label": "Dirichlet by label",
        "dirichlet-language": "Dirichlet by language",
        "language": "by language",
        "iid": "IID",
    }),
    "by": ("Colours", {"label": "labels", "language": "languages"}),
}  # fmt: skip

_STYLE = """
div:has(>.fp-who){background:transparent!important;color:inherit!important}
.fp-who{color:inherit;background:transparent;max-width:46rem;font-size:.95em;line-height:1.5}
.fp-who fieldset{border:0;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.1rem 1rem}
.fp-who legend{float:left;font-weight:600;padding:0;margin:0;width:5.5rem;font-size:inherit}
.fp-who label{display:inline-flex;gap:.35rem;align-items:center;margin:0}
.fp-who input{accent-color:#0072B2;margin:0}
.fp-who input[type=range]{flex:1;min-width:9rem}
.fp-who .fp-alpha{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.3rem 0}
.fp-who .fp-alpha b{width:5.5rem;font-weight:600}
.fp-who .fp-alpha output{width:3rem;font-variant-numeric:tabular-nums}
.fp-who .fp-off,.fp-who fieldset:disabled{opacity:.5}
.fp-who .fp-row{display:grid;grid-template-columns:4.5rem 1fr 3rem;gap:.6rem;align-items:center;margin:.25rem 0}
.fp-who .fp-row>:last-child,.fp-who td,.fp-who th{text-align:right;font-variant-numeric:tabular-nums}
.fp-who .fp-bar{display:flex;height:1.5rem;border-left:1px solid currentColor}
.fp-who i{display:block;forced-color-adjust:none;print-color-adjust:exact;box-shadow:inset -1px 0 0 #fffc}
.fp-who .fp-key{display:flex;flex-wrap:wrap;gap:.1rem .9rem;font-size:.9em;margin:.5rem 0}
.fp-who .fp-key i{width:.9em;height:.9em;box-shadow:none}
.fp-who table{font-size:.8em;border-collapse:collapse;display:block;overflow-x:auto}
.fp-who td,.fp-who th{padding:.1rem .4rem}
"""

_SCRIPT = """
for (const root of document.querySelectorAll('.fp-who:not([data-ready])')) {
  root.dataset.ready = '1';
  const data = JSON.parse(root.querySelector('script').textContent), form = root.querySelector('form');
  const at = name => root.querySelector('.fp-' + name), slider = form.elements.alpha;
  const add = (parent, tag, text = '') => {
    const node = parent.appendChild(document.createElement(tag));
    node.textContent = text;
    return node;
  };
  const paint = (node, i) => {
    const colour = data.palette[i % data.palette.length];
    node.style.background = i < data.palette.length ? colour
      : `repeating-linear-gradient(45deg,${colour} 0 4px,#fff 4px 6px)`;
  };
  const draw = () => {
    const scheme = form.elements.scheme.value, by = form.elements.by.value, draws = data.frames[scheme];
    const steps = draws[Math.min(form.elements.draw.value, draws.length - 1)];
    const frame = steps[Math.min(slider.value, steps.length - 1)], alpha = data.alphas[slider.value];
    const total = row => row.reduce((sum, n) => sum + n, 0), names = data[by];
    const full = Math.max(...steps.filter(Boolean).flatMap(step => step.label.map(total)));
    slider.disabled = steps.length < 2;
    at('alpha').classList.toggle('fp-off', slider.disabled);
    at('draws').disabled = draws.length < 2;
    slider.setAttribute('aria-valuetext', 'alpha ' + alpha);
    at('alpha').querySelector('output').textContent = slider.disabled ? 'none' : alpha;
    for (const part of ['bars', 'key', 'table']) at(part).replaceChildren();
    names.forEach((name, i) => {
      const item = add(at('key'), 'span');
      paint(add(item, 'i'), i);
      item.append(' ' + name);
      item.style.cssText = 'display:inline-flex;gap:.35rem;align-items:center';
    });
    if (!frame) {
      at('said').textContent = 'No partition: in eleven draws, each left some client with nothing.';
      return;
    }
    const head = add(at('table'), 'tr');
    ['', ...names, 'all'].forEach(name => add(head, 'th', name));
    frame[by].forEach((row, k) => {
      const who = scheme === 'language' ? data.language[k] : 'client ' + k;
      const line = add(at('bars'), 'div'), cells = add(at('table'), 'tr');
      line.className = 'fp-row';
      add(line, 'span', who);
      const bar = add(line, 'div');
      bar.className = 'fp-bar';
      bar.setAttribute('role', 'img');
      bar.setAttribute('aria-label', names.map((name, i) => name + ' ' + row[i]).join(', '));
      row.forEach((n, i) => {
        const piece = add(bar, 'i');
        piece.style.width = 100 * n / full + '%';
        piece.title = `${who}: ${n} of ${names[i]}`;
        paint(piece, i);
      });
      add(line, 'span', total(row));
      [who, ...row, total(row)].forEach((value, i) => add(cells, i ? 'td' : 'th', value));
    });
    const few = frame.label.filter(row => row.filter(Boolean).length < 2).length;
    at('said').textContent = `Mean distance from the whole: ${frame.distance[0].toFixed(2)} by label, `
      + `${frame.distance[1].toFixed(2)} by language. Clients with a single label: ${few}. `
      + `A full bar is ${full} examples.`;
  };
  for (const input of form.elements) input.dataset.lmSuppressShortcuts = '';  // JupyterLab wants the arrow keys too
  form.addEventListener('input', draw);
  form.addEventListener('submit', event => event.preventDefault());
  draw();
}
"""


def _frame(task: Task, scheme: str, **arguments) -> dict | None:
    try:
        parts = partition(task, scheme, **arguments)
    except FedPromptError:  # the arguments are checked before: a client would hold nothing
        return None
    tables = {by: counts(parts, task, by) for by in ("label", "language")}
    distance = [round(mean_total_variation(table), 3) for table in tables.values()]
    return {by: table.tolist() for by, table in tables.items()} | {"distance": distance}


def _radios(name: str, title: str, choices: dict) -> str:
    buttons = "".join(
        f'<label><input type="radio" name="{name}" value="{value}"{"" if i else " checked"}>{html.escape(text)}</label>'
        for i, (value, text) in enumerate(choices.items())
    )
    return f'<fieldset class="fp-{name}s"><legend>{title}</legend>{buttons}</fieldset>'


def partition_explorer(
    task: Task, *, clients: int | None = None, alphas: Sequence[float] = ALPHAS, seeds: Sequence[int] = (0, 1, 2)
) -> HTML:
    """Show who holds what, with a slider for alpha.

    Every partition is drawn beforehand by ``partition.partition`` and stored in the output. So it works without a
    kernel and without a network.

    Parameters
    ----------
    task : Task
        The task.
    clients : int, optional
        Number of clients; default: as many as languages. Another number leaves out the partition by language.
    alphas : sequence of float
        The steps of the slider, from left to right.
    seeds : sequence of int
        The draws to choose from.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    FedPromptError
        If there is no alpha or no seed, or ``partition.partition`` refuses an argument.
    """
    if not alphas or not seeds:
        raise FedPromptError("the explorer needs at least one alpha and one seed, for example alphas=[0.1, 1, 10]")
    partition(task, "iid", clients=clients, seed=min(seeds))
    if not min(alphas) > 0:
        raise FedPromptError(f"alpha is {min(alphas)}; a Dirichlet concentration must be above 0, for example 0.5")
    frames = {
        scheme: [[_frame(task, scheme, clients=clients, alpha=a, seed=seed) for a in alphas] for seed in seeds]
        for scheme in ("dirichlet-label", "dirichlet-language")
    }
    if clients in (None, len(task.languages)):
        frames["language"] = [[_frame(task, "language")]]
    frames["iid"] = [[_frame(task, "iid", clients=clients, seed=seed)] for seed in seeds]
    data = {"label": task.labels, "language": task.languages, "alphas": alphas, "palette": PALETTE, "frames": frames}
    scheme, by = _CHOICES["scheme"], _CHOICES["by"]
    controls = _radios("scheme", scheme[0], {key: text for key, text in scheme[1].items() if key in frames})
    controls += _radios("by", *by) + _radios("draw", "Draw", {i: f"seed {seed}" for i, seed in enumerate(seeds)})
    seen = (
        f'<form aria-label="Who holds what">{controls}<label class="fp-alpha"><b>alpha</b>'
        f'<input type="range" name="alpha" min="0" max="{len(alphas) - 1}" step="1" value="{len(alphas) // 2}">'
        '<output></output></label></form><div class="fp-bars"></div><div class="fp-key"></div>'
        '<p class="fp-said" aria-live="polite"></p><details><summary>The numbers</summary>'
        '<table class="fp-table"></table></details><noscript>The slider needs JavaScript.</noscript>'
    )
    return inline_widget("fp-who", style=_STYLE, data=data, body=seen, script=_SCRIPT)
