// The history of a channel, read page by page (protocol section 5.6).
import { call } from './api.js';
import { byID } from './dom.js';
import * as format from './format.js';
import { historyRow } from './rows.js';

const pageSize = 50;
// A page that somebody keeps loading must not grow without end.
const mostItems = 2000;

export class History {
  #base;
  #channel = '';
  #direction = '';
  #cursor = null;
  // Answers to anything but the latest request are ignored.
  #request = 0;

  constructor(base, channel) {
    this.#base = base;
    byID('history-channel').value = channel;
    byID('history').addEventListener('submit', (e) => {
      e.preventDefault();
      this.load();
    });
    byID('history-more').addEventListener('click', () => this.#page());
  }

  load() {
    this.#channel = byID('history-channel').value.trim();
    this.#direction = byID('history-direction').value;
    this.#cursor = null;
    if (this.#channel) return this.#page();
  }

  async #page() {
    const request = ++this.#request;
    const first = this.#cursor === null;
    const query = new URLSearchParams({ limit: pageSize, direction: this.#direction });
    if (!first) query.set('cursor', this.#cursor);
    const list = byID('history-items');
    const more = byID('history-more');
    more.disabled = true;
    try {
      const page = await call(`${this.#base}/channels/${encodeURIComponent(this.#channel)}/history?${query}`);
      if (request !== this.#request) return;
      const rows = page.items.map(historyRow);
      if (first) list.replaceChildren(...rows);
      else list.append(...rows);
      this.#cursor = page.has_more ? page.next_cursor : null;
      more.hidden = this.#cursor === null || list.childElementCount >= mostItems;
      this.#summary(list.childElementCount, page.continuity ?? {});
    } catch (err) {
      if (request !== this.#request) return;
      if (first) list.replaceChildren();
      more.hidden = true;
      byID('history-summary').textContent = `History of ${this.#channel}: ${err.message}.`;
    } finally {
      more.disabled = false;
    }
  }

  #summary(shown, continuity) {
    const retained = continuity.retained_messages ?? shown;
    byID('history-summary').textContent = retained === 0
      ? `The log holds nothing of ${this.#channel}.`
      : `${format.count(shown)} of ${format.count(retained)} retained events of ${this.#channel}`
        + (continuity.oldest_available_published_at_ms ? `, the oldest of ${format.day(continuity.oldest_available_published_at_ms)}.` : '.');
  }
}
