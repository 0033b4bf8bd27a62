// The channels that this page is subscribed to.
import { byID, element, setText } from './dom.js';
import * as format from './format.js';

export class Channels {
  #rows = new Map(); // name -> {item, number, count}
  #on;

  // on.subscribe(name) and on.unsubscribe(name) are called for what people do.
  constructor(on) {
    this.#on = on;
    byID('subscribe').addEventListener('submit', (e) => {
      e.preventDefault();
      const field = byID('subscribe-channel');
      const name = field.value.trim();
      if (!name) return;
      field.value = '';
      if (this.add(name)) this.#on.subscribe(name);
    });
    this.#draw();
  }

  names() {
    return [...this.#rows.keys()];
  }

  add(name) {
    if (this.#rows.has(name)) return false;
    const number = element('span', { class: 'number' }, '0');
    const remove = element('button', { type: 'button', 'aria-label': `Unsubscribe from ${name}`, title: 'Unsubscribe' }, '×');
    remove.addEventListener('click', () => {
      this.remove(name);
      this.#on.unsubscribe(name);
    });
    const item = element('li', { 'data-state': 'waiting' },
      element('span', { class: 'dot', 'aria-hidden': 'true' }), element('span', { class: 'name', title: name }, name), number, remove);
    this.#rows.set(name, { item, number, count: 0 });
    this.#draw();
    return true;
  }

  remove(name) {
    this.#rows.delete(name);
    this.#draw();
  }

  // state is 'waiting' or 'connected'; without a name it is that of all.
  mark(state, name) {
    for (const [n, row] of this.#rows) {
      if (name === undefined || n === name) row.item.setAttribute('data-state', state);
    }
  }

  count(name) {
    const row = this.#rows.get(name);
    if (row) setText(row.number, format.count(++row.count));
  }

  #draw() {
    byID('channels').replaceChildren(...(this.#rows.size
      ? [...this.#rows.values()].map((r) => r.item)
      : [element('li', { class: 'none' }, 'No subscriptions.')]));
    setText(byID('channels-count'), this.#rows.size > 8 ? `(${this.#rows.size})` : '');
    byID('known-channels').replaceChildren(...this.names().map((n) => element('option', { value: n })));
  }
}
