export default widget(({root, form, field, data, at, kept}) => {
  if (!data.trails) return () => {};  // no round yet
  const rounds = data.trails[0].length - 1, parts = data.clients.length ? 2 : 1;  // without prompts a round is one step
  const slider = field.round, said = at('said'), where = at('where');
  const [trails, heads, outs, backs, dots, names] = ['trail', 'head', 'out', 'back', 'dot', 'name']
    .map(name => root.querySelectorAll('.fp-' + name));
  const size = [340, 270], free = 101;  // of the picture, and from its middle to the margin
  const far = data.prompts.flatMap((spots, r) => data.trails[0].slice(r, r + 2).flatMap(average =>
    spots.flatMap(place => place.map((x, i) => Math.abs(x - average[i])))));
  const zoom = Math.max(1, free / Math.max(1, ...far));
  const labels = data.prompts.map(spots => {  // names stand beside their dots, each at least 14 below the one above it
    const down = spots.map((_, k) => k).sort((a, b) => spots[a][1] - spots[b][1]), shifts = [];
    let low = -Infinity;
    for (const k of down) {
      low = Math.max(low + 14, spots[k][1] + 4);
      shifts[k] = low - spots[k][1];
    }
    return shifts;
  });
  const set = (node, given) => Object.entries(given).forEach(([name, value]) => node.setAttribute(name, value));
  const mix = (a, b, t) => a.map((x, i) => x + (b[i] - x) * t), still = matchMedia('(prefers-reduced-motion: reduce)');
  const tell = half => {  // what half a round did, in words
    const same = parts > 1 ? 'every client holds the same prompt, and ' : '';
    if (!half) return `The start: ${same}no round has been done.`;
    const r = Math.ceil(half / 2), where = `Round ${r} of ${rounds}, after `;
    const now = name => Number((data.table[name][r - 1] ?? 0).toPrecision(3));
    if (half % 2) {
      const moved = data.clients.map(x => `${x} by ${now(x + ' moved by')}`).join(', ');
      const text = `${where}local training. Moved away from the average: ${moved}.`, {apart} = data.table;
      return !apart ? text : text + ` Two clients are ${now('apart')} apart on average; this plane shows `
        + `${now('on the plane')} of it.`;
    }
    const scores = data.languages.map(x => `${x} ${now(x + ' accuracy')} (${now(x + ' loss')})`).join(', ');
    if (parts === 1) return `${where}averaging. Accuracy (loss): ${scores}.`;
    const turned = r > 1 ? ` and turned by ${now('turned by')} degrees` : '';
    return `${where}averaging. The average moved by ${now('average moved by')}${turned}. Accuracy (loss): ${scores}.`;
  };
  // value: rounds done; half a round is local training, half the average. Who saw the last round sees the next.
  let value = kept.value === kept.rounds && data.follow ? rounds : kept.value ?? rounds, frame = 0, then = 0;
  const draw = () => {
    Object.assign(kept, {value, rounds, close: field.close.checked, frame});
    const r = Math.max(1, Math.ceil(value)), t = 2 * (value - r + 1), out = Math.min(1, t), back = Math.max(0, t - 1);
    const tips = data.trails.map(of => mix(of[r - 1], of[r], back)), [before, after] = data.trails[0].slice(r - 1);
    const near = place => place.map((x, i) => size[i] / 2 + (x - tips[0][i]) * zoom);
    const px = place => field.close.checked ? near(place) : place;
    const move = (node, place, opacity = 1) => set(node, {opacity, transform: `translate(${place})`});
    const join = (node, ...places) => set(node, {d: 'M' + places.join('L')});
    data.trails.forEach((path, i) => {  // the average, then accuracies, which do not zoom and begin with round 1
      join(trails[i], ...[...path.slice(0, r), tips[i]].map(place => i ? place : px(place)));
      move(heads[i], i ? tips[i] : px(tips[i]), i && value < 1 ? 0 : 1);
    });
    data.prompts[r - 1].forEach((trained, k) => {
      const gone = mix(before, trained, out);
      join(outs[k], px(before), px(gone));
      join(backs[k], px(trained), px(mix(trained, after, back)));
      move(dots[k], px(mix(gone, after, back)));
      move(names[k], px(gone), t ? 1 : 0);
      set(names[k], {dy: labels[r - 1][k]});
    });
    move(at('start'), px(data.trails[0][0]));
    const step = frame ? Math.floor(parts * value) / parts : value;
    const text = step ? `round ${Math.ceil(step)}, ${step % 1 ? 'trained' : 'averaged'}` : 'the start';
    [slider.value, slider.ariaValueText, where.textContent, said.textContent] = [step, text, text, tell(2 * step)];
  };
  const go = to => {
    cancelAnimationFrame(frame);
    [frame, value] = [0, Math.min(rounds, Math.max(0, to))];
    [field.play.textContent, said.ariaLive] = ['Play', 'polite'];
    draw();
  };
  const tick = now => {
    [value, then] = [value + Math.min(100, now - (then || now)) / 1600, now];
    if (!slider.isConnected) return;
    if (value >= rounds) return go(value);
    frame = requestAnimationFrame(tick);
    draw();
  };
  const stop = () => go(Math.ceil(parts * value) / parts), on = (node, kind, act) => node.addEventListener(kind, act);
  const play = () => {
    if (frame) return stop();
    [value, then] = [value < rounds ? value : 0, 0];
    [field.play.textContent, said.ariaLive] = ['Pause', 'off'];  // nobody can follow what is read out all the time
    frame = requestAnimationFrame(tick);
  };
  on(field.play, 'click', play);
  on(field.back, 'click', () => go(Math.ceil(parts * value - 1) / parts));
  on(field.next, 'click', () => go(Math.floor(parts * value + 1) / parts));
  on(slider, 'input', () => go(Number(slider.value)));
  const calm = () => { field.play.hidden = still.matches; stop(); };  // who asks for less motion goes step by step
  on(still, 'change', calm);
  const playing = kept.frame && !still.matches;
  slider.step = 1 / parts;
  field.close.checked = kept.close;
  form.hidden = false;
  calm();
  if (playing) play();
  return draw;
});
