const bill = (numbers, model, clients, rounds, scoring, [down, up]) => ({
  update: up * numbers,
  total: clients * rounds * ((1 + scoring) * down + up) * numbers,
  whole: clients * rounds * (2 + scoring) * 4 * model,
});
