export default widget(({field: {rate: slider}, data: {rates, steps, chance, runs}, at, live, ask}) => {
  const left = 34, floor = 212, across = 410, top = 2 * chance;  // of the picture; losses above the top lie on its edge
  const x = step => left + across * step / steps, y = loss => floor - 200 * Math.min(1, loss / top);
  const rateAt = i => {  // steps on a log scale: live, the slider also stops between two rates
    const low = Math.floor(i), high = Math.ceil(i);
    return low === high ? rates[i] : Number((rates[low] ** (high - i) * rates[high] ** (i - low)).toPrecision(2));
  };
  const curve = (losses, given) => add(at('plot'), 'path', '',
    {d: `M${losses.map((loss, step) => `${x(step)},${y(loss).toFixed(1)}`).join('L')}`, ...given});
  if (live) slider.step = .1;
  return () => {
    const rate = rateAt(Number(slider.value)), run = runs[slider.value] ?? ask({rate}, 400);
    slider.ariaValueText = slider.parentNode.querySelector('output').textContent = String(rate);
    if (!run) return;
    if (!run.losses) {
      at('said').textContent = run.error;
      return;
    }
    for (const part of ['plot', 'table']) at(part).replaceChildren();
    for (let loss = 0; loss <= top; loss++) {
      add(at('plot'), 'path', '', {d: `M${left},${y(loss)}h${across}`, stroke: 'currentColor', opacity: .2});
      add(at('plot'), 'text', loss, {x: left - 8, y: y(loss) + 4, 'text-anchor': 'end'});
    }
    for (let step = 0; step <= steps; step += Math.ceil(steps / 10)) {
      add(at('plot'), 'text', step, {x: x(step), y: floor + 16, 'text-anchor': 'middle'});
    }
    add(at('plot'), 'text', 'loss after so many steps', {x: left, y: floor + 34});
    for (const {losses} of runs) curve(losses, {stroke: 'currentColor', opacity: .25, 'stroke-width': 1.5});
    curve([chance, ...Array(steps).fill(chance)], {stroke: 'currentColor', 'stroke-dasharray': '5 4'});
    curve(run.losses, {stroke: '#D55E00', 'stroke-width': 3});
    const last = run.losses.length - 1;
    add(at('plot'), 'circle', '', {cx: x(last), cy: y(run.losses[last]), r: 5, fill: '#D55E00'});
    const done = `Learning rate ${rate}: from a loss of ${run.losses[0]} to ${run.losses[last]} after ${last} steps.`;
    const high = Math.max(...run.losses) > top ? ' A part of the curve lies above the picture.' : '';
    const even = `Guessing with equal probabilities has ${chance.toFixed(2)}.`;
    at('said').textContent = `${done} ${even}${high} ${run.error ?? ''}`;
    const head = add(at('table'), 'tr');
    ['learning rate', ...Array(steps + 1).keys()].forEach(name => { add(head, 'th', name, {scope: 'col'}); });
    const rows = rates.map((kept, i) => [kept, runs[i].losses]);
    if (!rates.includes(rate)) rows.push([rate, run.losses]);
    for (const [kept, losses] of rows) {
      const row = add(at('table'), 'tr', '', kept === rate ? {'aria-current': 'true'} : {});
      add(row, 'th', kept, {scope: 'row'});
      for (const loss of losses) add(row, 'td', loss);
    }
  };
});
