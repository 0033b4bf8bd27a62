// The list of live events: newest first, bounded, with pause and filter.
import { byID, setText } from './dom.js';
import { liveRow } from './rows.js';

const shown = 200;

export class Live {
  #list = byID('events');
  #entries = [];  // newest first, at most `shown`
  #arrived = [];  // not drawn yet, oldest first, at most `shown`
  #missed = 0;    // arrived while paused
  #paused = false;
  #needle = '';
  #scheduled = false;
  #any = false;

  constructor() {
    byID('pause').addEventListener('click', () => this.#pause(!this.#paused));
    byID('clear').addEventListener('click', () => this.#clear());
    byID('filter').addEventListener('input', ({ target }) => {
      this.#needle = target.value.trim().toLowerCase();
      this.#redraw();
    });
  }

  add(entry) {
    this.#any = true;
    this.#arrived.push(entry);
    if (this.#arrived.length > shown) this.#arrived.shift();
    if (this.#paused) this.#missed++;
    this.#schedule();
  }

  // One drawing per frame of the screen, however many events arrive.
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      byID('empty').hidden = this.#any;
      setText(byID('pause'), !this.#paused ? 'Pause' : this.#missed ? `Resume (${this.#missed} new)` : 'Resume');
      if (!this.#paused) this.#draw();
    });
  }

  #draw() {
    const fresh = this.#arrived;
    this.#arrived = [];
    if (!fresh.length) return;
    this.#entries.unshift(...fresh.toReversed());
    this.#entries.length = Math.min(this.#entries.length, shown);
    const rows = fresh.filter((e) => this.#matches(e)).map((e) => this.#row(e)).reverse();
    this.#list.prepend(...rows);
    while (this.#list.childElementCount > shown) this.#list.lastElementChild.remove();
    this.#hint();
  }

  #redraw() {
    this.#list.replaceChildren(...this.#entries.filter((e) => this.#matches(e)).map((e) => this.#row(e)));
    this.#hint();
  }

  #hint() {
    byID('nothing-matches').hidden = this.#list.childElementCount > 0 || this.#entries.length === 0;
  }

  // Opening a row pauses the list, so that it does not run away from the reader.
  #row(entry) {
    return liveRow(entry, () => this.#pause(true));
  }

  #matches(entry) {
    if (!this.#needle) return true;
    entry.text ??= `${entry.channel}\n${entry.event}\n${entry.key ?? ''}\n${typeof entry.data === 'string' ? entry.data : JSON.stringify(entry.data)}`.toLowerCase();
    return entry.text.includes(this.#needle);
  }

  #pause(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#missed = 0;
    byID('pause').setAttribute('aria-pressed', String(paused));
    this.#schedule();
  }

  #clear() {
    this.#entries = [];
    this.#arrived = [];
    this.#missed = 0;
    this.#list.replaceChildren();
    this.#any = false;
    this.#hint();
    this.#schedule();
  }
}
