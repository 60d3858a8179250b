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
