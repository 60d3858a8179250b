"""An explorer of results: choose a question, see its settings, their intervals and every seed; no kernel, no network.

The scores of every run are embedded as ``results.scores`` gives them. What is drawn from them stands in JavaScript in
``_FORMULA``, and a test holds it against ``results.table``: a value a seed (the mean over languages, or one language;
less that of the baseline's same seed for the gain), their mean, and half their 95% interval by Student's t.
"""

import html
import math
from pathlib import Path

import pandas as pd
from IPython.display import HTML
from scipy import stats

from .errors import FedPromptError, check_choice
from .inline import inline_widget
from .plots import PALETTE
from .results import CONFIDENCE, scores
from .sweeps import Sweep, grid_fields, has_record

MEASURES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}

_FORMULA = """
const mean = x => x.reduce((sum, v) => sum + v, 0) / x.length;
const half = (x, t) => x.length < 2 ? null
  : t[x.length] * Math.sqrt(mean(x.map(v => (v - mean(x)) ** 2)) / (x.length - 1));
const values = (sweep, row, measure, language, gain) => {
  const base = gain ? sweep.settings[row.base] : null, found = new Map();
  if (gain && !base) return found;
  row.seeds.forEach((seed, i) => {
    const names = language ? [language] : sweep.languages, score = (of, name, k) => of[measure][name]?.[k] ?? NaN;
    const less = name => base ? score(base, name, base.seeds.indexOf(seed)) : 0;
    const all = names.map(name => score(row, name, i) - less(name)).filter(Number.isFinite);
    if (all.length) found.set(seed, mean(all));
  });
  return found;
};
"""

_STYLE = """
div:has(>.fp-res){background:transparent!important;color:inherit!important}
.fp-res{color:inherit;background:transparent;max-width:46rem;font-size:.95em;line-height:1.5}
.fp-res form{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;margin:0}
.fp-res label{display:inline-flex;flex-wrap:wrap;gap:.1rem .5rem;align-items:center;font-weight:600;margin:0}
.fp-res label:first-child{width:100%}
.fp-res select{font:inherit;font-weight:400;color:inherit;background:transparent;border:1px solid currentColor;
border-radius:.25rem;padding:.15rem .3rem;max-width:100%}
.fp-res option{color:#000;background:#fff}.fp-res input{accent-color:#0072B2;margin:0}.fp-res p{margin:.4rem 0}
.fp-res svg{display:block;width:100%;font-size:13px;overflow:visible;print-color-adjust:exact}
.fp-res text{fill:currentColor}.fp-res .fp-tick{font-size:11px;text-anchor:middle}
.fp-res table{font-size:.85em;border-collapse:collapse;display:block;overflow-x:auto}
.fp-res td,.fp-res th{padding:.1rem .5rem;text-align:right;font-variant-numeric:tabular-nums}
.fp-res tr>:first-child{text-align:left}
"""

_SCRIPT = """
for (const root of document.querySelectorAll('.fp-res:not([data-ready])')) {
  root.dataset.ready = '1';
  const {sweeps, t, measures, colours} = JSON.parse(root.querySelector('script').textContent);
  const form = root.querySelector('form'), field = form.elements, at = name => root.querySelector('.fp-' + name);
  const add = (parent, tag, text = '', given = {}) => {
    const made = document.createElementNS(parent.namespaceURI, tag), node = parent.appendChild(made);
    node.textContent = text;
    for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
    return node;
  };
  const draw = () => {
    const sweep = sweeps[field.sweep.value], measure = field.measure.value, gain = field.gain.checked;
    const asked = field.language.value, every = 'mean over languages', share = sweep.majority[measure];
    if (field.sweep.value !== field.language.dataset.of) {
      field.language.replaceChildren();
      ['', ...sweep.languages].forEach(name => add(field.language, 'option', name || every, {value: name}));
      field.language.dataset.of = field.sweep.value;
      field.language.value = sweep.languages.includes(asked) ? asked : '';
    }
    const language = field.language.value, majority = language ? share[language] : mean(Object.values(share));
    const write = v => v === null ? '' : (gain && v > 0 ? '+' : '') + v.toFixed(3), most = measure === 'macro_f1';
    const rows = sweep.settings.map(row => {
      const found = values(sweep, row, measure, language, gain), all = [...found.values()];
      return {row, found, all, mean: all.length ? mean(all) : null, half: half(all, t)};
    });
    const shown = rows.filter(r => r.all.length), inside = v => Math.min(1, Math.max(gain ? -1 : 0, v));
    const ends = shown.flatMap(r => [...r.all, r.mean - r.half, r.mean + r.half]).map(inside);
    const least = Math.min(gain ? 0 : majority, ...ends), top = Math.max(gain ? 0 : majority, ...ends);
    const step = [.05, .1, .2, .5].find(s => (top - least) / s < 7), low = Math.floor(least / step + 1e-9) * step;
    const high = Math.max(low + step, Math.ceil(top / step - 1e-9) * step);
    const x = v => (4 + 92 * (inside(v) - low) / (high - low)).toFixed(2) + '%', floor = 44 * rows.length + 6;
    const plot = at('plot'), table = at('table'), name = row => row.name + (row.baseline ? ' (baseline)' : '');
    const line = (parent, x1, y1, x2, y2, more) => add(parent, 'line', '', {x1, y1, x2, y2, ...more});
    for (const part of [plot, table]) part.replaceChildren();
    plot.setAttribute('height', floor + 24);
    for (let v = low; v < high + step / 2; v += step) {
      line(plot, x(v), 0, x(v), floor, {stroke: 'currentColor', opacity: .15});
      add(plot, 'text', (v + 1e-9).toFixed(step < .1 ? 2 : 1), {x: x(v), y: floor + 16, class: 'fp-tick'});
    }
    const mark = x(gain ? 0 : majority), dashed = {stroke: 'currentColor', 'stroke-dasharray': '5 4'};
    rows.forEach((_, i) => line(plot, mark, 44 * i + 21, mark, 44 * i + 42, dashed));  // not through the names
    rows.forEach(({row, all, mean, half}, i) => {
      const y = 44 * i + 31, first = row.baseline, colour = colours[first ? 1 : 0], group = add(plot, 'g');
      add(group, 'title', `${row.name}: ${write(mean) || 'no value'}${half === null ? '' : ' ± ' + half.toFixed(3)}`);
      add(group, 'text', name(row), {x: 0, y: y - 13});
      if (!all.length) return;
      if (half !== null) line(group, x(mean - half), y, x(mean + half), y, {stroke: colour, 'stroke-width': 3});
      if (first) line(group, x(mean), y - 7, x(mean), y + 7, {stroke: colour, 'stroke-width': 14});  // a square
      else add(group, 'circle', '', {cx: x(mean), cy: y, r: 7, fill: colour});
      all.forEach(v => add(group, 'circle', '', {cx: x(v), cy: y, r: 3.2, fill: '#fff', stroke: '#000'}));
    });
    const asks = sweep.question.replace(/([^.?!])$/, '$1.');
    const what = `${measures[measure]}, ${language || every}${gain ? ', gain over the baseline' : ''}`;
    plot.setAttribute('aria-label', `${asks} ${what}. All numbers are in the table below.`);
    const seeds = [...new Set(sweep.settings.flatMap(row => row.seeds))], titles = ['setting', 'mean', '± (95%)'];
    add(table, 'caption', what);
    const head = add(table, 'tr');
    [...titles, ...seeds.map(seed => 'seed ' + seed)].forEach(name => add(head, 'th', name, {scope: 'col'}));
    const fill = (name, cells) => {
      const tr = add(table, 'tr');
      add(tr, 'th', name, {scope: 'row'});
      cells.forEach(text => add(tr, 'td', text));
    };
    const lowest = (most ? 'at most ' : '') + majority.toFixed(3);
    fill('majority class' + (gain ? ' (score, no gain)' : ''), [lowest, '', ...seeds.map(() => '')]);
    for (const {row, found, mean, half} of rows) fill(name(row),
      [write(mean), half === null ? '' : half.toFixed(3), ...seeds.map(seed => write(found.get(seed) ?? null))]);
    const sure = shown.filter(r => r.half !== null), alone = shown.length - sure.length;
    const clear = sure.filter(r => gain ? Math.abs(r.mean) > r.half : r.mean - r.half > majority).length;
    const so = `${clear} of ${sure.length} intervals ${gain ? 'leave out zero' : 'lie above the majority class'}. `;
    at('said').textContent = `${asks} Shown: ${what}. ` + (sure.length ? so : '')
      + (alone ? `Without an interval, since there is one seed: ${alone}. ` : '')
      + `The dashed line is the ${gain ? 'baseline' : 'majority class: ' + lowest}.`;
  };
  for (const input of form.elements) input.dataset.lmSuppressShortcuts = '';  // JupyterLab wants the arrow keys too
  form.addEventListener('input', draw);
  form.addEventListener('submit', event => event.preventDefault());
  draw();
}
"""


def majority_macro_f1(share: float) -> float:
    """Give the largest macro-F1 that always guessing the most frequent class can have.

    Its F1 is ``2 share / (1 + share)``, that of any other class 0. Records do not say how many classes a test split
    has, but if the most frequent one has this share there are at least ``1 / share``.
    """
    return 2 * share / (1 + share) / math.ceil(1 / share - 1e-9)


def explorer_data(sweep: Sweep, results: str | Path) -> dict:
    """Give what the explorer embeds of one sweep: the scores of every run, and each setting's baseline.

    Parameters
    ----------
    sweep, results : Sweep, path
        As in ``results.scores``, which refuses a sweep without a record.

    Returns
    -------
    dict
        ``question``, ``languages``, ``majority`` (measure to language to score), and ``settings`` in the order of
        ``results.table``: ``name``, ``seeds``, ``baseline`` (whether it is one), ``base`` (place of the baseline at
        the same point of the grid, or None) and, by measure and language, one score a seed.
    """
    frame = scores(sweep, results)
    grid = [name for name in grid_fields(sweep) if name in frame]
    groups = list(frame.groupby(["label", *grid], sort=False, dropna=False))
    points = [dict(zip(["label", *grid], key, strict=True)) for key, _ in groups]
    settings = []
    for name, point, (_, rows) in zip(_names(points, grid), points, groups, strict=True):
        seeds = [int(seed) for seed in rows["seed"].unique()]
        setting = {"name": name, "seeds": seeds, "baseline": point["label"] == sweep.baseline}
        setting["base"] = _base(points, point, sweep.baseline, grid)
        for measure in MEASURES:
            wide = rows.pivot_table(index="seed", columns="language", values=measure, sort=False).reindex(seeds)
            setting[measure] = {x: [None if pd.isna(v) else round(v, 5) for v in wide[x]] for x in wide}
        settings.append(setting)
    share = frame.groupby("language", sort=False)["majority"].mean()
    scorers = {"accuracy": float, "macro_f1": majority_macro_f1}
    majority = {measure: {x: round(score(p), 5) for x, p in share.items()} for measure, score in scorers.items()}
    return {"question": sweep.question, "languages": list(share.index), "majority": majority, "settings": settings}


def _names(points: list[dict], grid: list[str]) -> list[str]:
    """Name every setting by its label and as many fields of the grid as tell them apart."""
    names = [point["label"] for point in points]
    for field in grid:
        if len(set(names)) < len(names):
            texts = [f"{p[field]:g}" if isinstance(p[field], int | float) else str(p[field]) for p in points]
            texts = [f", {field.replace('_', ' ')} {text}" for text in texts]
            twice = [names.count(name) > 1 and not pd.isna(p[field]) for name, p in zip(names, points, strict=True)]
            names = [n + text * more for n, text, more in zip(names, texts, twice, strict=True)]
    return names


def _base(points: list[dict], point: dict, label: str, grid: list[str]) -> int | None:
    """Find the baseline at the same point of the grid, or where it has no grid, as ``results.table`` does."""
    places = [i for i, other in enumerate(points) if other["label"] == label]
    for name in grid:
        if not pd.isna(point[name]) and any(not pd.isna(points[i][name]) for i in places):
            places = [i for i in places if points[i][name] == point[name]]
    return places[0] if len(places) == 1 and point["label"] != label else None


def _options(texts: dict[str, str], chosen: str) -> str:
    on = {name: " selected" if name == chosen else "" for name in texts}
    return "".join(f'<option value="{name}"{on[name]}>{html.escape(text)}</option>' for name, text in texts.items())


def results_explorer(sweeps: list[Sweep], results: str | Path, *, first: str | None = None) -> HTML:
    """Show the settings of a sweep to choose, each with its mean, its 95% interval and every seed.

    Parameters
    ----------
    sweeps : list of Sweep
        From ``sweeps.read_sweep``; those without a record are left out.
    results : path
        Folder of the run records.
    first : str, optional
        Name of the sweep file shown first, without ``.toml``.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    FedPromptError
        If no sweep has a record, or `first` is none that has.
    """
    data = {one.path.stem: explorer_data(one, results) for one in sweeps if has_record(one, Path(results))}
    if not data:
        raise FedPromptError(f"no sweep given has a run record in {results}; name another folder, or run a sweep")
    first = check_choice("sweep", first or next(iter(data)), data)
    most = max(len(setting["seeds"]) for of in data.values() for setting in of["settings"])
    t = {n: round(float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)), 6) for n in range(2, most + 1)}
    embedded = {"sweeps": data, "t": t, "measures": MEASURES, "colours": PALETTE[:2]}
    questions = _options({name: of["question"] or name for name, of in data.items()}, first)
    seen = (
        f'<form aria-label="Results explorer"><label>question<select name="sweep">{questions}</select></label>'
        f'<label>score<select name="measure">{_options(MEASURES, "accuracy")}</select></label>'
        '<label>language<select name="language"></select></label>'
        '<label><input type="checkbox" name="gain">gain over the baseline</label></form>'
        '<p class="fp-said" aria-live="polite"></p><svg class="fp-plot" role="img"></svg>'
        '<p class="fp-key">Large mark: mean, a square for the baseline. Bar: its 95% interval. White dots: seeds.</p>'
        '<details><summary>The numbers as a table</summary><table class="fp-table"></table></details>'
        "<noscript>The explorer needs JavaScript.</noscript>"
    )
    return inline_widget("fp-res", style=_STYLE, data=embedded, body=seen, script=f"{{{_FORMULA}{_SCRIPT}}}")
