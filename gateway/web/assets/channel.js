// One channel: what is published now, what the log has, who is in it, who publishes.
import { ask } from './server.js';
import { element, setText, update } from './dom.js';
import * as format from './format.js';
import { Calm } from './calm.js';
import { doors, liveRow } from './eventrows.js';
import { Replay } from './replay.js';

const mostRows = 300;

const kinds = [['private-encrypted-', 'encrypted'], ['private-', 'private'], ['presence-', 'presence'], ['#server-to-user-', 'of one user']];
const kindOf = (name) => (kinds.find(([prefix]) => name.startsWith(prefix)) ?? [, 'public'])[1];

export class ChannelDetail {
  #box;
  #on;
  #place = null;
  #tab = 'live';
  #facts = null;
  #panels = {};
  #buttons = {};
  #live = null;
  #replay = null;
  #members = null;
  #asking = false;

  constructor(box, on) {
    this.#box = box;
    this.#on = on;
  }

  show(place, tab = this.#tab) {
    const same = place && this.#place && place.app === this.#place.app && place.channel === this.#place.channel;
    if (same) return;
    this.#replay?.stop();
    this.#replay = this.#live = this.#members = null;
    this.#place = place;
    this.#on.look(place);
    if (!place) {
      this.#box.replaceChildren(element('p', { class: 'empty' }, 'Choose a channel to see its events, its history and who is in it. Private and presence channels are here as well.'));
      return;
    }
    this.#build();
    this.#choose(tab === 'members' && kindOf(place.channel) !== 'presence' ? 'live' : tab);
    this.refresh();
  }

  #build() {
    const { app, channel } = this.#place;
    const back = element('button', { type: 'button', class: 'back' }, 'Back');
    back.addEventListener('click', () => this.#on.go(null));
    this.#facts = element('dl', { class: 'facts' });
    const tabs = [['live', 'Live'], ['history', 'History and replay'], ...(kindOf(channel) === 'presence' ? [['members', 'Members']] : []), ['publishers', 'Publishers']];
    const list = element('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Channel' });
    this.#panels = {};
    this.#buttons = {};
    for (const [name, label] of tabs) {
      const button = element('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': `panel-${name}` }, label);
      button.addEventListener('click', () => this.#choose(name));
      button.addEventListener('keydown', ({ key }) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
        if (!step) return;
        const names = Object.keys(this.#buttons);
        const next = names[(names.indexOf(name) + step + names.length) % names.length];
        this.#choose(next);
        this.#buttons[next].focus();
      });
      this.#buttons[name] = button;
      this.#panels[name] = element('div', { class: 'panel', role: 'tabpanel', id: `panel-${name}`, 'aria-labelledby': `tab-${name}`, hidden: true });
      list.append(button);
    }
    this.#box.replaceChildren(
      element('header', {}, element('div', { class: 'title' }, element('h2', {}, channel), back),
        element('div', { class: 'chips' }, element('span', { class: 'form info' }, kindOf(channel)), channel.includes('cache-') ? element('span', { class: 'form' }, 'cache') : '', element('span', {}, `app ${app}`)), this.#facts),
      list, ...Object.values(this.#panels));
    this.#live = new LivePanel(this.#panels.live, this.#place);
    this.#replay = new Replay(this.#panels.history, this.#place);
    if (this.#panels.members) this.#members = new MembersPanel(this.#panels.members, this.#place);
  }

  #choose(tab) {
    this.#tab = tab;
    this.#on.tab(tab);
    for (const [name, panel] of Object.entries(this.#panels)) {
      panel.hidden = name !== tab;
      this.#buttons[name].setAttribute('aria-selected', String(name === tab));
      this.#buttons[name].tabIndex = name === tab ? 0 : -1;
    }
    if (tab === 'history') this.#replay.show();
    else this.#replay.pause();
    if (tab === 'members') this.#members.load();
    if (tab === 'publishers') this.refresh();
  }

  live(group) { this.#live?.add(group); }
  gap(since) { this.#live?.gap(since); }
  refused(why) { this.#live?.refused(why); }

  async refresh() {
    if (this.#asking || !this.#place) return;
    this.#asking = true;
    const place = this.#place;
    try {
      const got = await ask('channel', place);
      if (place !== this.#place) return;
      this.#draw(got);
      if (this.#tab === 'members') this.#members.load();
    } catch (err) {
      if (err.status === 0 || err.status === 401) this.#on.error(err);
      else if (place === this.#place) this.#facts.replaceChildren(element('div', { class: 'bad-text' }, err.message));
    } finally {
      this.#asking = false;
      if (place !== this.#place) this.refresh(); // another one was chosen meanwhile
    }
  }

  #draw({ here, cluster, retained, publishers, publishers_of }) {
    const facts = [
      ['Subscribers here', format.count(here.subscriptions)],
      ...(cluster ? [['Subscribers everywhere', format.count(cluster.subscriptions)]] : []),
      ...(cluster && this.#panels.members ? [['Members', format.count(cluster.members)]] : []),
      ['Events per second', format.rate(here.rate)],
      ['Kept in the log', retained.messages ? `${format.count(retained.messages)} events since ${format.day(retained.oldest_at_ms).slice(0, 19)}` : 'nothing'],
      ['Newest serial', retained.newest ? `#${retained.newest}` : '–'],
    ];
    update(this.#facts, ...facts.map(([k, v]) => element('div', {}, element('dt', {}, k), element('dd', {}, v))));
    const panel = this.#panels.publishers;
    if (!publishers.length) {
      update(panel, element('p', { class: 'empty' }, 'The log has no events of this channel.'));
      return;
    }
    update(panel, element('p', { class: 'fine note bar' }, `Of the newest ${format.count(publishers_of)} events.`),
      element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Publishers' }, element('table', {},
        element('thead', {}, element('tr', {}, element('th', {}, 'Through'), element('th', {}, 'User'), element('th', {}, 'Gateway'), element('th', { class: 'right' }, 'Events'), element('th', { class: 'right' }, 'Last'))),
        element('tbody', {}, ...publishers.map((p) => element('tr', {}, element('td', {}, doors[p.from] ?? p.from), element('td', {}, p.user ?? '–'), element('td', { class: 'mono' }, p.node ?? '–'),
          element('td', { class: 'right' }, format.count(p.events)), element('td', { class: 'right' }, format.clock(p.last_at_ms))))))));
  }
}

// What is published now.
class LivePanel {
  #place;
  #list = element('ol', { 'aria-label': 'Events, newest first' });
  #empty = element('p', { class: 'empty' }, 'Waiting for the next event. What was published before is under History.');
  #pause = element('button', { type: 'button', class: 'toggle', 'aria-pressed': 'false' }, 'Pause');
  #search = element('input', { type: 'search', placeholder: 'Filter by event, key or data', spellcheck: 'false', 'aria-label': 'Filter events' });
  #note = element('output', { class: 'fine' });
  #entries = []; // newest first
  #fresh = 0; // of them that are not drawn yet
  #calm = new Calm(() => this.#add());
  #missed = 0;
  #skipped = 0;
  #gap = '';
  #paused = false;

  constructor(box, place) {
    this.#place = place;
    const clear = element('button', { type: 'button' }, 'Clear');
    box.append(element('div', { class: 'bar' }, this.#search, this.#pause, clear), this.#note,
      element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Live events' }, this.#list, this.#empty));
    this.#note.classList.add('note');
    this.#note.hidden = true;
    this.#pause.addEventListener('click', () => this.#hold(!this.#paused));
    clear.addEventListener('click', () => {
      this.#entries = [];
      this.#draw();
    });
    this.#search.addEventListener('input', () => this.#draw());
  }

  add({ events, skipped }) {
    if (skipped) {
      this.#skipped += skipped;
      this.#say();
    }
    for (const e of events) this.#entries.unshift(e);
    this.#entries.length = Math.min(this.#entries.length, mostRows);
    if (this.#paused) {
      this.#missed += events.length;
      setText(this.#pause, `Resume (${format.count(this.#missed)} new)`);
      return;
    }
    this.#fresh += events.length;
    this.#calm.ask();
  }

  // What came since the last drawing.
  #add() {
    if (this.#paused) return;
    const fresh = this.#entries.slice(0, this.#fresh);
    this.#fresh = 0;
    this.#list.prepend(...fresh.filter((e) => this.#matches(e)).map((e) => this.#row(e)));
    while (this.#list.childElementCount > mostRows) this.#list.lastElementChild.remove();
    this.#empty.hidden = this.#entries.length > 0;
  }

  // gap tells that events since a moment until now are not in the list.
  gap(since) {
    this.#gap = `There was no connection from ${format.clock(since).slice(0, 8)} to ${format.clock(Date.now()).slice(0, 8)}; what was published then is under History.`;
    this.#say();
  }

  refused(why) { setText(this.#empty, `This channel cannot be followed: ${why}.`); }

  #say() {
    const skipped = this.#skipped ? `${format.count(this.#skipped)} events came too fast to be shown. All of them are under History.` : '';
    this.#note.hidden = false;
    setText(this.#note, [this.#gap, skipped].filter(Boolean).join(' '));
  }

  // An opened row stops the list, so that it does not run away from the reader.
  #row(e) { return liveRow(e, this.#place, () => this.#hold(true)); }

  #hold(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#missed = this.#fresh;
    this.#pause.setAttribute('aria-pressed', String(paused));
    setText(this.#pause, paused ? 'Resume' : 'Pause');
    if (!paused) this.#draw();
  }

  #matches(e) {
    const needle = this.#search.value.trim().toLowerCase();
    return !needle || `${e.event}\n${e.key ?? ''}\n${e.data}`.toLowerCase().includes(needle);
  }

  #draw() {
    this.#fresh = 0;
    this.#list.replaceChildren(...this.#entries.filter((e) => this.#matches(e)).map((e) => this.#row(e)));
    this.#empty.hidden = this.#entries.length > 0;
  }
}

// Who is in a presence channel.
class MembersPanel {
  #place;
  #body = element('tbody');
  #search = element('input', { type: 'search', placeholder: 'Search members', spellcheck: 'false', 'aria-label': 'Search members' });
  #count = element('p', { class: 'fine note', role: 'status' });
  #request = 0;

  constructor(box, place) {
    this.#place = place;
    box.append(element('div', { class: 'bar' }, this.#search), this.#count, element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Members' },
      element('table', {}, element('thead', {}, element('tr', {}, element('th', {}, 'User'), element('th', {}, 'Info'))), this.#body)));
    this.#search.addEventListener('input', () => this.load());
  }

  async load() {
    const request = ++this.#request;
    try {
      const got = await ask('members', { ...this.#place, search: this.#search.value.trim(), limit: 200 });
      if (request !== this.#request) return;
      update(this.#body, ...got.rows.map((m) => element('tr', {}, element('td', { class: 'mono' }, m.id), element('td', { class: 'mono' }, format.oneLine(m.info) || '–'))));
      setText(this.#count, got.total > got.rows.length ? `The first ${got.rows.length} of ${format.count(got.total)} members. Search for others.` : `${format.count(got.total)} of ${format.count(got.all)} members, in the order in which they came.`);
    } catch (err) {
      if (request === this.#request) setText(this.#count, `The members cannot be read: ${err.message}.`);
    }
  }
}
