export default widget(({root, form, field, data: {counts, widths, limit}, at, ask}) => {
  const put = (name, text) => { at(name).textContent = text; };
  const exact = n => n.toLocaleString('en');
  const rough = n => {
    const [size, unit] = [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB'], [1, 'bytes']].find(([s]) => n >= s);
    return (n / size).toLocaleString('en', {maximumSignificantDigits: 4}) + ' ' + unit;
  };
  const whole = n => Number.isInteger(n) && n >= 1 && n <= limit, percent = n => n.toPrecision(3) + '%';
  let own = '';  // asked for when its name is complete
  const take = () => {
    own = field.own.value.trim();
    form.dispatchEvent(new Event('input'));
  };
  field.own.addEventListener('change', take);
  field.own.addEventListener('keydown', event => { if (event.key === 'Enter') take(); });
  return () => {
    const clients = Number(field.clients.value), rounds = Number(field.rounds.value);
    const bar = root.querySelector('i'), results = root.querySelector('dl');
    const asked = own ? ask({backbone: own}) : {counts: counts[field.backbone.value]};
    if (!asked) return;
    field.backbone.disabled = Boolean(own);
    results.hidden = !(asked.counts && whole(clients) && whole(rounds));
    if (results.hidden) {
      put('said', asked.error ?? `Clients and rounds: whole numbers from 1 to ${exact(limit)}, please.`);
      bar.style.width = 0;
      return;
    }
    const of = asked.counts, numbers = of[field.method.value], model = of.full;
    const found = bill(numbers, model, clients, rounds, field.scoring.checked ? 1 : 0, widths[field.precision.value]);
    const share = 100 * found.total / found.whole;
    put('trained', `${exact(numbers)} of ${exact(model)}`);
    put('update', `${exact(found.update)} bytes`);
    put('total', rough(found.total));
    put('share', percent(share));
    put('said', `Whole models in float32, in the same messages: ${rough(found.whole)}. `
      + `One update is ${percent(25 * found.update / model)} of one whole model.`);
    bar.style.width = share + '%';
    at('bar').setAttribute('aria-label', percent(share) + ' of sending whole models');
  };
});
