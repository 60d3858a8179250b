export default widget(({root, form, field, data, at}) => {
  const {labels: names, width, sizes, palette, rounds} = data, labels = names.length, rate = data.rate;
  const all = data.languages.map(one => ({...one, ...Object.fromEntries(['train', 'test'].map(split =>
    [split, {features: numbers(one[split], data.step), truth: one[split + '_labels']}]))}));
  const join = parts => ({
    features: Float64Array.from(parts.flatMap(({features, rows}) =>
      rows.flatMap(row => [...features.subarray(row * width, (row + 1) * width)]))),
    truth: parts.flatMap(({truth, rows}) => rows.map(row => truth[row])),
  });
  const every = n => [...Array(n).keys()], mean = list => list.reduce((a, b) => a + b, 0) / list.length;
  const percent = x => (100 * x).toFixed(0) + '%';
  const say = root.querySelector('.fp-ask select');
  let state, timer;
  const start = () => {
    clearInterval(timer);
    const on = all.filter((_, i) => form.querySelector(`[name=on][value="${i}"]`).checked);
    const size = sizes[field.size.value], draw = random(data.seed);
    let held = on.map(({train}) => ({...train, rows: every(size)}));
    const pooled = on.length ? {...join(held), rows: every(size * on.length)} : null;
    if (field.how.value === 'iid' && on.length) {
      const order = shuffled(pooled.rows, draw);
      held = held.map((_, k) => ({...pooled, rows: order.filter((_, i) => i % on.length === k)}));
    }
    const zero = new Float64Array((width + 1) * labels);
    state = {on, held, pooled, draw, together: zero, alone: held.map(() => zero), one: zero, sent: held.map(() => zero)};
    state.history = [];
  };
  const round = () => {
    const {held, pooled, draw} = state, noise = field.noise.value / 100;
    const how = {labels, width, epochs: Number(field.epochs.value), rate};
    state.sent = held.map(client => trained(state.together, client, how, draw)
      .map(number => noise ? number + noise * normal(draw) : number));
    state.together = average(state.sent, held.map(client => client.rows.length));
    state.alone = held.map((client, k) => trained(state.alone[k], client, how, draw));
    state.one = trained(state.one, pooled, how, draw);
    const own = field.how.value === 'language';
    state.history.push(state.on.map(({test}, k) => ({
      together: accuracy(state.together, test, labels, width),
      alone: own ? accuracy(state.alone[k], test, labels, width)
        : mean(state.alone.map(head => accuracy(head, test, labels, width))),
      pooled: accuracy(state.one, test, labels, width),
    })));
  };
  const line = (svg, values, colour, thick, dash) => {
    const points = values.map((value, r) => `${46 + 31 * (r + 1)},${250 - 230 * value}`).join(' ');
    add(svg, 'polyline', '', {points, fill: 'none', stroke: colour, 'stroke-width': thick, 'stroke-dasharray': dash});
  };
  const plot = () => {
    const {on, history} = state, place = at('plot');
    place.innerHTML = '<svg viewBox="0 0 690 285" role="img"></svg>';
    const svg = place.firstChild;
    for (const tick of [0, .25, .5, .75, 1]) {
      const y = 250 - 230 * tick;
      add(svg, 'line', '', {x1: 46, x2: 680, y1: y, y2: y, stroke: 'currentColor', 'stroke-opacity': .15});
      add(svg, 'text', percent(tick), {x: 40, y: y + 4, 'text-anchor': 'end'});
    }
    for (const r of [1, 5, 10, 15, 20]) add(svg, 'text', r, {x: 46 + 31 * r, y: 268, 'text-anchor': 'middle'});
    add(svg, 'text', 'rounds', {x: 363, y: 283, 'text-anchor': 'middle'});
    on.forEach(({i}, k) => {
      line(svg, history.map(row => row[k].together), palette[i], 1.5, 'none');
      line(svg, history.map(row => row[k].alone), palette[i], 1.5, '6 4');
    });
    const of = kind => history.map(row => mean(row.map(scores => scores[kind])));
    line(svg, of('pooled'), 'currentColor', 2, '2 4');
    line(svg, of('alone'), 'currentColor', 3, '9 5');
    line(svg, of('together'), 'currentColor', 4, 'none');
    const last = history.at(-1), told = last ? `After round ${history.length}, together `
      + `${percent(of('together').at(-1))}, alone ${percent(of('alone').at(-1))}` : 'No round yet';
    svg.setAttribute('aria-label', `Test accuracy by round. ${told}.`);
    at('key').replaceChildren();
    for (const text of ['thick: mean of the languages', 'solid: together (FedAvg)', 'dashed: each alone', 'dotted: pooled']) {
      add(at('key'), 'span', text);
    }
    for (const {i, name} of on) {
      const item = add(at('key'), 'span');
      add(item, 'i').style.background = palette[i];
      item.append(name);
    }
  };
  const heads = () => {
    at('heads').replaceChildren();
    const shown = [['the average', state.together], ...state.held.map((_, k) =>
      [field.how.value === 'language' ? `sent by ${state.on[k].name}` : `sent by client ${k}`, state.sent[k]])];
    for (const [title, head] of shown) {
      const box = add(at('heads'), 'div', title);
      const canvas = add(box, 'canvas', '', {width: width + 1, height: labels, role: 'img', 'aria-label': `Head, ${title}`});
      const ink = canvas.getContext('2d'), most = Math.max(1e-9, ...head.map(Math.abs));
      head.forEach((number, i) => {
        ink.fillStyle = number < 0 ? '#0072B2' : '#D55E00';
        ink.globalAlpha = Math.abs(number) / most;
        ink.fillRect(Math.floor(i / labels), i % labels, 1, 1);
      });
    }
  };
  const numbersTable = () => {
    const table = at('table'), last = state.history.at(-1) ?? [];
    table.replaceChildren();
    const head = add(add(table, 'thead'), 'tr'), body = add(table, 'tbody');
    for (const title of ['test accuracy', 'together', 'alone', 'pooled']) add(head, 'th', title, {scope: 'col'});
    last.forEach((scores, k) => {
      const row = add(body, 'tr');
      add(row, 'th', state.on[k].name, {scope: 'row'});
      for (const kind of ['together', 'alone', 'pooled']) add(row, 'td', scores[kind].toFixed(2));
    });
  };
  const answer = () => {
    const table = at('answers'), [i, row] = say.value.split(',').map(Number), {test} = all[i];
    const k = state.on.findIndex(one => one.i === i), own = field.how.value === 'language' && k >= 0;
    const of = head => names[said(head, test.features, row, labels, width)];
    table.replaceChildren();
    const rows = [['right', names[test.truth[row]]]];
    if (state.history.length) {
      rows.push(['together', of(state.together)], ...(own ? [['alone', of(state.alone[k])]] : []), ['pooled', of(state.one)]);
    }
    for (const [who, label] of rows) {
      const line = add(table, 'tr');
      add(line, 'th', who, {scope: 'row'});
      add(line, 'td', label);
    }
  };
  const tell = () => {
    const {on, history} = state, last = history.at(-1);
    if (on.length < 2) {
      at('said').textContent = 'Choose two languages or more: a federation of one is training alone.';
    } else if (!last) {
      at('said').textContent = `${on.length} clients with ${sizes[field.size.value]} sentences each. What will be better?`;
    } else {
      const [together, alone] = ['together', 'alone'].map(kind => mean(last.map(scores => scores[kind])));
      const points = Math.round(100 * (together - alone));
      const worse = on.filter((_, k) => last[k].together < last[k].alone).map(({name}) => name);
      at('said').textContent = `Round ${history.length}: together ${percent(together)}, alone ${percent(alone)}, `
        + `${points < 0 ? '−' : '+'}${Math.abs(points)} points. `
        + (worse.length ? `Better off alone: ${worse.join(', ')}.` : 'No language would be better off alone.');
    }
  };
  const show = done => {
    const [size, epochs, noise] = ['size', 'epochs', 'noise'].map(name => field[name]);
    const outputs = {size: sizes[size.value], epochs: epochs.value, noise: (noise.value / 100).toFixed(2)};
    for (const [name, text] of Object.entries(outputs)) {
      field[name].parentNode.querySelector('output').textContent = text;
      field[name].setAttribute('aria-valuetext', text);
    }
    const full = state.history.length >= rounds;
    field.all.disabled = field.one.disabled = state.on.length < 2 || full;
    plot();
    if (!done) return;
    heads();
    numbersTable();
    answer();
    tell();
  };
  all.forEach((one, i) => {
    one.i = i;
    one.texts.forEach((text, row) => add(say, 'option', `${one.name}: ${text}`, {value: `${i},${row}`, lang: one.code}));
  });
  say.addEventListener('input', event => {
    event.stopPropagation();
    answer();
  });
  field.one.addEventListener('click', () => {
    round();
    show(true);
  });
  field.all.addEventListener('click', () => {
    clearInterval(timer);
    timer = setInterval(() => {
      round();
      const done = state.history.length >= rounds;
      show(done);
      if (done) clearInterval(timer);
    }, 30);
  });
  const again = () => {
    start();
    show(true);
  };
  field.again.addEventListener('click', again);
  return again;
});
