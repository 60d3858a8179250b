export default widget(({root, field: {text, own}, data: {labels, texts}, at, ask}) => () => {
  const typed = own.value.trim(), found = typed ? ask({text: typed}) : texts[text.value];
  if (!found) return;
  if (found.error) {
    at('said').textContent = found.error;
    return;
  }
  const [first, second] = labels.map((_, i) => i).sort((a, b) => found.shares[b] - found.shares[a]);
  const tell = i => `${labels[i]} with ${found.shares[i].toFixed(2)}`;
  const cut = found.cut ? ` Only the first ${found.cut} tokens were read.` : '';
  at('said').textContent = `Most probable: ${tell(first)}, then ${tell(second)}.${cut}`;
  root.querySelectorAll('tr').forEach((row, i) => {
    row.classList.toggle('fp-most', i === first);
    row.querySelector('i').style.width = `${100 * found.shares[i]}%`;
    row.querySelector('.fp-share').textContent = found.shares[i].toFixed(2);
  });
});
