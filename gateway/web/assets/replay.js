// The history of a channel with a bar to move in time, and a replay at a chosen speed.
import { ask } from './server.js';
import { element, setText } from './dom.js';
import * as format from './format.js';
import { storedRow } from './eventrows.js';

const page = 100;
const mostRows = 500;
// Silence that is longer than this is cut short while replaying.
const longestSilence = 2000;

// wait is how long a replay pauses between two events that were stored so far apart, in ms.
export function wait(apart, speed) {
  if (speed === 0) return 0;
  return Math.min(longestSilence, Math.max(0, apart) / speed);
}

export class Replay {
  #place;
  #bar = element('input', { type: 'range', min: 0, max: 1000, value: 1000, step: 1, 'aria-label': 'Moment in the history' });
  #now = element('output');
  #oldest = element('span');
  #newest = element('span');
  #play = element('button', { type: 'button', class: 'primary' }, 'Play');
  #speed = element('select', { 'aria-label': 'Speed' });
  #list = element('ol', { 'aria-label': 'Events, newest first' });
  #note = element('p', { class: 'fine note', role: 'status' });
  #older = element('button', { type: 'button', hidden: true }, 'Older events');
  #retained = null;
  #first = 0;   // serial of the oldest event that is shown
  #last = 0;    // serial of the newest
  #lastAt = 0;
  #queue = [];  // events that are to be replayed
  #playing = false;
  #run = 0; // of playing; an earlier one that still waits for the server ends
  #timer = 0;
  #request = 0;
  #drag = 0;

  constructor(box, place) {
    this.#place = place;
    box.classList.add('stored');
    for (const [value, label] of [[1, '1×'], [5, '5×'], [20, '20×'], [100, '100×'], [0, 'As fast as possible']]) this.#speed.append(element('option', { value }, label));
    const begin = element('button', { type: 'button' }, 'Oldest');
    const end = element('button', { type: 'button' }, 'Newest');
    begin.addEventListener('click', () => this.#go(0));
    end.addEventListener('click', () => this.show());
    this.#play.addEventListener('click', () => this.#playing ? this.pause() : this.#start());
    this.#bar.addEventListener('input', () => {
      this.pause();
      this.#say(this.#timeAt(this.#bar.value / 1000));
      clearTimeout(this.#drag);
      this.#drag = setTimeout(() => this.#go(this.#bar.value / 1000), 150);
    });
    this.#older.addEventListener('click', () => this.#more());
    box.append(
      element('div', { class: 'replay' },
        element('div', { class: 'row' }, this.#play, element('label', { class: 'inline' }, 'Speed', this.#speed), begin, end, this.#now),
        this.#bar, element('div', { class: 'ends' }, this.#oldest, this.#newest)),
      this.#note,
      element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'History' }, this.#list, element('p', { class: 'bar' }, this.#older)));
    this.#note.classList.add('bar');
  }

  // show goes to the newest events.
  async show() {
    this.pause();
    await this.#load({ order: 'desc', limit: page });
  }

  pause() {
    this.#playing = false;
    clearTimeout(this.#timer);
    setText(this.#play, 'Play');
  }

  stop() {
    this.pause();
    this.#request++;
  }

  #timeAt(part) {
    const { oldest_at_ms: from, newest_at_ms: to } = this.#retained ?? {};
    return from ? Math.round(from + (to - from) * part) : 0;
  }

  // go shows what was there at a moment, from 0 for the oldest event to 1 for the newest.
  async #go(part) {
    this.pause();
    if (!this.#retained?.messages) return this.show();
    const until = this.#timeAt(part);
    await this.#load({ order: 'desc', limit: page, until_ms: until }, part);
  }

  async #load(query, part = 1) {
    const request = ++this.#request;
    try {
      const got = await ask('history', { ...this.#place, ...query });
      if (request !== this.#request) return;
      this.#retained = got.retained;
      this.#queue = [];
      this.#list.replaceChildren(...got.events.map((e) => storedRow(e, this.#place, () => this.pause())));
      this.#first = got.events.at(-1)?.serial ?? 0;
      this.#last = got.events[0]?.serial ?? Math.max(0, got.retained.oldest - 1);
      this.#lastAt = got.events[0]?.at_ms ?? 0;
      this.#older.hidden = !got.more;
      this.#ends();
      this.#bar.value = Math.round(part * 1000);
      this.#say(got.events[0]?.at_ms ?? 0);
    } catch (err) {
      if (request === this.#request) setText(this.#note, `The history cannot be read: ${err.message}.`);
    }
  }

  async #more() {
    const request = this.#request;
    this.#older.disabled = true;
    try {
      const got = await ask('history', { ...this.#place, order: 'desc', limit: page, to: this.#first - 1 });
      if (request !== this.#request) return;
      this.#list.append(...got.events.map((e) => storedRow(e, this.#place, () => this.pause())));
      this.#first = got.events.at(-1)?.serial ?? this.#first;
      this.#older.hidden = !got.more || this.#list.childElementCount > 20 * page;
    } catch (err) {
      setText(this.#note, `Older events cannot be read: ${err.message}.`);
    } finally {
      this.#older.disabled = false;
    }
  }

  #ends() {
    const r = this.#retained;
    const some = r.messages > 0;
    for (const e of [this.#bar, this.#play]) e.disabled = !some;
    setText(this.#oldest, some ? format.day(r.oldest_at_ms).slice(0, 19) : '');
    setText(this.#newest, some ? format.day(r.newest_at_ms).slice(0, 19) : '');
    setText(this.#note, some ? `The log has ${format.count(r.messages)} events of this channel. Silences of more than two seconds are cut short in a replay.` : 'The log has nothing of this channel.');
  }

  #say(at) {
    setText(this.#now, at ? format.day(at) : '');
    this.#bar.setAttribute('aria-valuetext', at ? format.day(at) : 'no event');
  }

  // start replays what comes after the newest event that is shown; from the end, all of it.
  async #start() {
    if (!this.#retained?.messages) return;
    if (this.#last >= this.#retained.newest && !this.#queue.length) {
      this.#list.replaceChildren();
      this.#last = this.#retained.oldest - 1;
      this.#lastAt = 0;
    }
    this.#playing = true;
    setText(this.#play, 'Pause');
    await this.#step(++this.#run);
  }

  async #step(run) {
    if (!this.#playing) return;
    if (!this.#queue.length && !await this.#fetch(run)) return;
    const e = this.#queue[0];
    const pause = this.#lastAt ? wait(e.at_ms - this.#lastAt, Number(this.#speed.value)) : 0;
    this.#timer = setTimeout(() => {
      if (!this.#playing) return;
      const group = [this.#queue.shift()];
      // Without a pause they come in groups, so that the page keeps up.
      while (Number(this.#speed.value) === 0 && this.#queue.length && group.length < 20) group.push(this.#queue.shift());
      this.#draw(group);
      this.#step(run);
    }, pause);
  }

  // fetch gets the next events, and reports false at the end.
  async #fetch(run) {
    const request = this.#request;
    try {
      const got = await ask('history', { ...this.#place, order: 'asc', limit: page, from: this.#last + 1 });
      if (request !== this.#request || run !== this.#run || !this.#playing) return false;
      this.#retained = got.retained;
      this.#queue = got.events;
    } catch (err) {
      if (run !== this.#run) return false;
      setText(this.#note, `The history cannot be read: ${err.message}.`);
    }
    if (!this.#queue.length) this.pause();
    return this.#queue.length > 0;
  }

  #draw(events) {
    this.#list.prepend(...events.map((e) => storedRow(e, this.#place, () => this.pause())).reverse());
    while (this.#list.childElementCount > mostRows) {
      this.#list.lastElementChild.remove();
      this.#older.hidden = true;
    }
    const last = events.at(-1);
    this.#last = last.serial;
    this.#lastAt = last.at_ms;
    const { oldest_at_ms: from, newest_at_ms: to } = this.#retained;
    this.#bar.value = to > from ? Math.round((last.at_ms - from) / (to - from) * 1000) : 1000;
    this.#say(last.at_ms);
  }
}
