// Totals and the chart of the last minute.
import * as format from './format.js';
import { byID, setText } from './dom.js';

const seconds = 60;
const height = 56;
const width = 240;

export class Totals {
  #wire = 0;
  #full = 0;
  #forms = { full: 0, delta: 0, plain: 0 };
  #buckets = Array.from({ length: seconds }, () => ({ wire: 0, saved: 0 }));
  #bars = [];
  #dirty = true;

  constructor() {
    const chart = byID('chart');
    const step = width / seconds;
    for (let i = 0; i < seconds; i++) {
      const bar = {};
      for (const kind of ['saved', 'wire']) {
        bar[kind] = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
        bar[kind].setAttribute('class', kind);
        bar[kind].setAttribute('x', i * step);
        bar[kind].setAttribute('width', step * 0.8);
        chart.append(bar[kind]);
      }
      this.#bars.push(bar);
    }
    byID('reset').addEventListener('click', () => this.#reset());
    setInterval(() => this.#tick(), 1000);
    this.#draw();
  }

  add({ wire, full, form }) {
    this.#wire += wire;
    this.#full += full;
    this.#forms[form]++;
    const now = this.#buckets[seconds - 1];
    now.wire += wire;
    now.saved += Math.max(0, full - wire);
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => this.#draw());
  }

  #reset() {
    this.#wire = this.#full = 0;
    this.#forms = { full: 0, delta: 0, plain: 0 };
    this.#draw();
  }

  #tick() {
    const last = this.#buckets[seconds - 1];
    setText(byID('rate'), `${format.bytes(last.wire)}/s received`);
    this.#buckets.shift();
    this.#buckets.push({ wire: 0, saved: 0 });
    const top = Math.max(1, ...this.#buckets.map((b) => b.wire + b.saved));
    this.#bars.forEach((bar, i) => {
      const b = this.#buckets[i];
      place(bar.wire, b.wire / top * height, height);
      place(bar.saved, b.saved / top * height, height - b.wire / top * height);
    });
  }

  #draw() {
    this.#dirty = false;
    const { full, delta, plain } = this.#forms;
    const events = full + delta + plain;
    setText(byID('total-events'), format.count(events));
    setText(byID('total-forms'), events ? `${format.count(full + plain)} full, ${format.count(delta)} delta` : 'none yet');
    setText(byID('total-wire'), format.bytes(this.#wire));
    setText(byID('total-full'), format.bytes(this.#full));
    setText(byID('total-percent'), format.percent(this.#full - this.#wire, this.#full));
    setText(byID('total-saved'), `${format.bytes(this.#full - this.#wire)} not sent`);
  }
}

function place(rect, tall, bottom) {
  rect.setAttribute('height', tall.toFixed(2));
  rect.setAttribute('y', (bottom - tall).toFixed(2));
}
