export default widget(({field, data: {sweeps, t, measures, colours}, at}) => () => {
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
});
