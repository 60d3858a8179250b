// A linear head on frozen features: softmax regression by gradient descent on batches of 8, and FedAvg of heads.
// A head is an array of (width + 1) rows of numbers, one for each label; the last row is the bias.
const numbers = (text, step) => Float64Array.from(atob(text), byte => (byte.charCodeAt(0) << 24 >> 24) / step);
const random = seed => {
  let state = seed;
  return () => {
    state = (1664525 * state + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
};
const normal = draw => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
const shuffled = (rows, draw) => {
  const order = [...rows];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
};
const logits = (head, features, row, labels, width) => {
  const sums = head.slice(width * labels);
  for (let d = 0; d < width; d++) {
    for (let c = 0; c < labels; c++) sums[c] += head[d * labels + c] * features[row * width + d];
  }
  return sums;
};
const trained = (start, {features, truth, rows}, {labels, width, epochs, rate}, draw) => {
  const head = start.slice();
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = shuffled(rows, draw);
    for (let from = 0; from < order.length; from += 8) {
      const batch = order.slice(from, from + 8), slope = new Float64Array(head.length);
      for (const row of batch) {
        const sums = logits(head, features, row, labels, width), most = Math.max(...sums);
        const parts = sums.map(sum => Math.exp(sum - most)), all = parts.reduce((a, b) => a + b);
        for (let c = 0; c < labels; c++) {
          const error = parts[c] / all - (truth[row] === c ? 1 : 0);
          for (let d = 0; d < width; d++) slope[d * labels + c] += error * features[row * width + d];
          slope[width * labels + c] += error;
        }
      }
      slope.forEach((sum, i) => { head[i] -= rate * sum / batch.length; });
    }
  }
  return head;
};
const average = (heads, weights) => {
  const total = weights.reduce((a, b) => a + b);
  return heads[0].map((_, i) => heads.reduce((sum, head, k) => sum + weights[k] / total * head[i], 0));
};
const said = (head, features, row, labels, width) => {
  const sums = logits(head, features, row, labels, width);
  return sums.indexOf(Math.max(...sums));
};
const accuracy = (head, {features, truth}, labels, width) =>
  truth.filter((label, row) => said(head, features, row, labels, width) === label).length / truth.length;
