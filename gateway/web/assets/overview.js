// The first view: what is going on, and whether it goes well.
import { ask } from './server.js';
import { byID, element, setText, update } from './dom.js';
import { Chart } from './chart.js';
import * as format from './format.js';
import { lagText } from './lag.js';

const tiles = [
  ['Connections', (t) => format.count(t.connections)],
  ['Channels', (t) => format.count(t.channels)],
  ['Subscriptions', (t) => format.count(t.subscriptions)],
  ['Catching up', (t) => format.count(t.catching_up)],
  ['Frames that wait', (t) => format.count(t.queued_frames)],
  ['Bytes that wait', (t) => format.bytes(t.queued_bytes)],
];

const rates = [
  ['published', 'published_total', 'Events published per second, over two minutes'],
  ['delivered', 'delivered_total', 'Events delivered per second, over two minutes'],
  ['accepted', 'http_events_total', 'Events accepted over HTTP per second, over two minutes'],
];

export class Overview {
  #figures = [];
  #charts = new Map();
  #last = null;
  #asking = false;
  #turn = 0;
  #onError;

  constructor(onError) {
    this.#onError = onError;
    for (const [name] of tiles) {
      const figure = element('strong', { class: 'figure' }, '–');
      byID('tiles').append(element('li', {}, element('span', {}, name), figure));
      this.#figures.push(figure);
    }
    for (const [name, , label] of rates) this.#charts.set(name, new Chart(byID(`chart-${name}`), label));
  }

  // totals takes the numbers of every second, also while something else is shown.
  totals(t) {
    tiles.forEach(([, text], i) => setText(this.#figures[i], text(t)));
    const last = this.#last;
    this.#last = t;
    if (!last || t.at_ms <= last.at_ms) return;
    const passed = (t.at_ms - last.at_ms) / 1000;
    for (const [name, key] of rates) {
      // Channels that nobody follows any more take their numbers with them.
      const rate = Math.max(0, t[key] - last[key]) / passed;
      this.#charts.get(name).add(rate);
      setText(byID(`rate-${name}`), format.rate(rate));
    }
  }

  show() {
    this.#turn = 0;
    this.refresh();
  }

  // What is in the lists need not be as fresh as the numbers.
  async refresh() {
    if (this.#asking || this.#turn++ % 2 === 1) return;
    this.#asking = true;
    try {
      const [busiest, slowest, now] = await Promise.all([
        ask('channels', { sort: 'rate', order: 'desc', limit: 8 }), ask('connections', { sort: 'lag', order: 'desc', only: 'slow', limit: 8 }), ask('overview'),
      ]);
      update(byID('busiest'), ...rows(busiest.rows, 'No channel is followed here yet.', (c) => link(
        `#/channels?${new URLSearchParams({ app: c.app, channel: c.channel })}`, c.channel, `${format.rate(c.rate)}/s`, `${format.count(c.subscriptions)} here`)));
      update(byID('slowest'), ...rows(slowest.rows, 'Every connection takes what it is sent.', (c) => link(
        `#/connections?${new URLSearchParams({ id: c.id })}`, c.user || c.id, format.bytes(c.queued_bytes), lagText(c))));
      update(byID('health'), ...health(now.health));
    } catch (err) {
      this.#onError(err);
    } finally {
      this.#asking = false;
    }
  }
}

const rows = (list, none, draw) => list.length ? list.map(draw) : [element('li', { class: 'none' }, none)];

const link = (href, name, ...numbers) => element('li', {}, element('a', { href }, element('span', { class: 'name', title: name }, name),
  ...numbers.map((n) => element('span', { class: 'number' }, n))));

// health says how the gateway and its log are.
export function health(h) {
  const out = [
    element('p', { class: 'state' }, element('span', { class: `dot ${h.ready ? 'good' : 'bad'}`, 'aria-hidden': 'true' }),
      element('strong', {}, h.ready ? 'Ready' : 'Not ready'), element('span', { class: 'fine' }, `log: ${h.backend}`)),
    element('p', { class: 'fine wraps' }, `Durability: ${h.durability}`),
  ];
  const wrong = [...h.problems ?? [], ...(h.restart_pending ?? []).map((k) => `${k} was changed and waits for a restart`)];
  if (wrong.length) out.push(element('ul', {}, ...wrong.map((w) => element('li', {}, w))));
  return out;
}
