// A line over the last two minutes.

const seconds = 120;
const width = 240;
const height = 72;

const svg = (tag, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
};

export class Chart {
  #values = [];
  #area = svg('path', { class: 'area' });
  #line = svg('path', { class: 'line' });

  constructor(box, label) {
    const chart = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
    chart.append(svg('line', { class: 'base', x1: 0, x2: width, y1: height, y2: height }), this.#area, this.#line);
    box.append(chart);
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > seconds) this.#values.shift();
    const top = Math.max(1, ...this.#values) * 1.08;
    const step = width / (seconds - 1);
    const from = seconds - this.#values.length;
    const points = this.#values.map((v, i) => `${((from + i) * step).toFixed(1)} ${(height - v / top * height).toFixed(1)}`);
    this.#line.setAttribute('d', `M${points.join('L')}`);
    this.#area.setAttribute('d', `M${(from * step).toFixed(1)} ${height}L${points.join('L')}L${width} ${height}Z`);
  }
}
