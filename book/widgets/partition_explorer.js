export default widget(({field, data, at, ask}) => {
  const slider = field.alpha, total = row => row.reduce((sum, n) => sum + n, 0);
  const paint = (node, i) => {
    const colour = data.palette[i % data.palette.length];
    node.style.background = i < data.palette.length ? colour
      : `repeating-linear-gradient(45deg,${colour} 0 4px,#fff 4px 6px)`;
  };
  for (const radio of field.scheme) radio.parentNode.hidden = !(radio.value in data.frames);
  slider.addEventListener('input', () => { field.any.value = ''; });
  return () => {
    const scheme = field.scheme.value, by = field.by.value, draws = data.frames[scheme], names = data[by];
    const steps = draws[Math.min(field.draw.value, draws.length - 1)];
    const own = steps.length > 1 && field.any.value, seed = data.seeds[field.draw.value];
    const alpha = own ? Number(own) : data.alphas[slider.value], asked = own ? ask({scheme, alpha, seed}) : null;
    const frame = own ? asked?.frame : steps[Math.min(slider.value, steps.length - 1)];
    const full = Math.max(...[...steps, frame].filter(Boolean).flatMap(step => step.label.map(total)));
    slider.disabled = field.any.disabled = steps.length < 2;
    at('alpha').classList.toggle('fp-off', slider.disabled);
    at('draws').disabled = draws.length < 2;
    slider.setAttribute('aria-valuetext', 'alpha ' + alpha);
    at('alpha').querySelector('output').textContent = slider.disabled ? 'none' : alpha;
    if (own && !asked) return;
    for (const part of ['bars', 'key', 'table']) at(part).replaceChildren();
    names.forEach((name, i) => {
      const item = add(at('key'), 'span');
      paint(add(item, 'i'), i);
      item.append(' ' + name);
    });
    if (!frame) {
      at('said').textContent = asked?.error ?? 'No partition: in eleven draws, each left some client with nothing.';
      return;
    }
    const head = add(at('table'), 'tr');
    ['', ...names, 'all'].forEach(name => add(head, 'th', name));
    frame[by].forEach((row, k) => {
      const who = scheme === 'language' ? data.language[k] : 'client ' + k;
      const line = add(at('bars'), 'div', '', {class: 'fp-row'}), cells = add(at('table'), 'tr');
      add(line, 'span', who);
      const told = names.map((name, i) => name + ' ' + row[i]).join(', ');
      const bar = add(line, 'div', '', {class: 'fp-bar', role: 'img', 'aria-label': told});
      row.forEach((n, i) => {
        const piece = add(bar, 'i', '', {title: `${who}: ${n} of ${names[i]}`});
        piece.style.width = 100 * n / full + '%';
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
});
