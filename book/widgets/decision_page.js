export default widget(({field, data: {rows, known}, at}) => {
  const names = {labels: 'labels per language', partners: 'partners', topics: 'shared topics'};
  const sign = n => (n < 0 ? '−' : '+') + Math.abs(n).toFixed(1);
  const refusal = asked => {
    for (const [name, what] of Object.entries(names)) {
      if (known[name].includes(asked[name])) continue;
      const near = known[name].toSorted((a, b) => Math.abs(a - asked[name]) - Math.abs(b - asked[name]))[0];
      return `No run here has ${asked[name]} ${what}; nearest is ${near}.`;
    }
    return asked.own ? `No run here has ${asked.own} topics that no partner has; nearest is 0.` : '';
  };
  return () => {
    const asked = Object.fromEntries([...Object.keys(names), 'own'].map(name => [name, Number(field[name].value)]));
    const refused = refusal(asked);
    at('said').textContent = refused || 'With e5-small in four bits and a linear layer, ten seeds, over staying alone:';
    at('table').replaceChildren();
    if (refused) return;
    const head = add(at('table'), 'tr');
    for (const name of ['way', 'rule', 'points', '95% interval', 'worst language', 'MB']) {
      add(head, 'th', name, {scope: 'col'});
    }
    for (const row of rows.filter(({labels, topics}) => labels === asked.labels && topics === asked.topics)) {
      const line = add(at('table'), 'tr');
      add(line, 'th', row.way, {scope: 'row'});
      const worst = `${sign(row.worst)} (${row.language})`;
      const told = [row.rule, sign(row.gain), `${sign(row.low)} to ${sign(row.high)}`, worst, row.MB.toFixed(1)];
      told.forEach(text => { add(line, 'td', text); });
    }
  };
});
