export default widget(({root, field: {language, command, own}, data: {palette, languages}, at, ask}) => {
  const count = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;
  const numbers = cut => [cut.pieces.length, cut.words, (cut.pieces.length / cut.words).toFixed(2), cut.characters];
  const list = () => {  // the commands of a language; keep the kind that is shown if the language has it
    const kept = command.value, kinds = Object.keys(languages[language.value].commands);
    command.replaceChildren();
    for (const kind of kinds) add(command, 'option', kind).value = kind;
    command.value = kinds.includes(kept) ? kept : kinds[0];
    command.dataset.of = language.value;
  };
  const line = (name, cut, current) => {
    const row = add(at('table'), 'tr', '', current ? {'aria-current': 'true'} : {});
    add(row, 'th', name, {scope: 'row'});
    for (const value of numbers(cut)) add(row, 'td', value);
  };
  return () => {
    if (command.dataset.of !== language.value) list();
    const text = own.value.trim(), cut = text ? ask({text}) : languages[language.value].commands[command.value];
    if (!cut) return;
    if (cut.error) {
      at('said').textContent = cut.error;
      return;
    }
    for (const part of ['text', 'tokens']) at(part).lang = text ? '' : language.value;
    at('text').textContent = cut.text;
    for (const part of ['tokens', 'table']) at(part).replaceChildren();
    cut.pieces.forEach(([piece, id, word], i) => {
      const box = add(at('tokens'), 'li', piece);
      box.classList.toggle('fp-first', i === 0 || word !== cut.pieces[i - 1][2]);
      box.style.setProperty('--c', palette[word % palette.length]);
      box.title = `token ${i + 1} of ${cut.pieces.length}, number ${id} in the vocabulary, in word ${word + 1}`;
      add(box, 'small', id);
    });
    const [tokens, words, rate, characters] = numbers(cut);
    at('said').textContent = `${count(tokens, 'token')} for ${count(words, 'word')}: ${rate} tokens per word. `
      + `${count(characters, 'character')}: ${(characters / tokens).toFixed(2)} characters per token.`;
    const head = add(at('table'), 'tr'), titles = ['language', 'tokens', 'words', 'tokens per word', 'characters'];
    for (const title of titles) add(head, 'th', title, {scope: 'col'});
    if (text) line('your own', cut, true);
    for (const [code, {name, commands}] of Object.entries(languages)) {
      if (commands[command.value]) line(name, commands[command.value], !text && code === language.value);
    }
    root.querySelector('summary').textContent = `${command.value} in every language`;
  };
});
