// The view of connections: how far each is behind, and ending them.
import { ask, tell } from './server.js';
import { byID, element, setText, update } from './dom.js';
import * as format from './format.js';
import { isSlow, lagText } from './lag.js';
import { VirtualList } from './virtual.js';

const narrow = matchMedia('(max-width: 720px)');

export class Connections {
  #list;
  #box = byID('connection');
  #on;
  #id = null;
  #parts = null;
  #asking = false;
  #timer = 0;

  // on.go(id) goes to a connection, on.error(err) tells of trouble, on.notice(text) of success.
  constructor(on) {
    this.#on = on;
    this.#list = new VirtualList(byID('connections-list'), {
      label: 'Connections of this gateway',
      height: () => narrow.matches ? 56 : 34,
      load: (from, limit) => ask('connections', { ...this.#query(), from, limit }),
      make: () => [element('span', { class: 'mono' }), element('span'), element('span', { class: 'mono' }), element('span', { class: 'number' }), element('span', { class: 'number' }), element('span', { class: 'lag' })],
      fill: (cells, c) => {
        [c.id, c.user ?? (narrow.matches ? c.address : '–'), c.address, format.count(c.subscriptions), format.bytes(c.queued_bytes), lagText(c)].forEach((text, i) => setText(cells[i], text));
        cells[1].title = c.user ?? '';
        cells[5].classList.toggle('bad-text', isSlow(c));
      },
      key: (c) => c.id,
      open: (c) => on.go(c.id),
      counted: (total, all) => setText(byID('connections-count'), total === all ? `${format.count(all)} ${all === 1 ? 'connection' : 'connections'} on this gateway` : `${format.count(total)} of ${format.count(all)} connections`),
      failed: on.error,
      empty: () => [element('p', {}, byID('connections-slow').checked ? 'No connection is slow.' : 'There is no such connection on this gateway.')],
    });
    byID('connections-form').addEventListener('submit', (e) => {
      e.preventDefault();
      if (this.#timer) this.#search();
      byID('connections-list').focus();
    });
    byID('connections-search').addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(), 150);
    });
    for (const id of ['connections-sort', 'connections-slow']) byID(id).addEventListener('change', () => this.#list.reset());
  }

  // search asks for what is typed, once the typing has ended.
  #search() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#list.reset();
  }

  #query() {
    const sort = byID('connections-sort').value;
    const order = sort === 'user' || sort === 'address' ? 'asc' : 'desc';
    return { search: byID('connections-search').value.trim(), sort, order, only: byID('connections-slow').checked ? 'slow' : '' };
  }

  show(id) {
    const left = id === null && this.#box.contains(document.activeElement);
    if (id !== this.#id) this.#box.replaceChildren();
    const came = id !== null && id !== this.#id;
    this.#id = id;
    this.#parts = null;
    byID('view-connections').classList.toggle('open', id !== null);
    this.#list.select(id);
    if (!this.#list.known) this.#list.reset();
    else this.#list.refresh();
    if (id !== null) this.#load();
    if (left) byID('connections-list').focus();
    else if (came && narrow.matches) this.#box.focus(); // the list is gone
  }

  hide() { this.#id = null; }

  refresh() {
    this.#list.refresh();
    if (this.#id !== null) this.#load();
  }

  async #load() {
    if (this.#asking) return;
    this.#asking = true;
    const id = this.#id;
    try {
      const got = await ask('connection', { id });
      if (id === this.#id) this.#draw(got);
    } catch (err) {
      if (id !== this.#id) return;
      if (err.status === 404) {
        this.#parts = null;
        this.#box.replaceChildren(element('header', {}, element('div', { class: 'title' }, element('h2', {}, id), this.#back())), element('p', { class: 'empty' }, 'This connection has ended.'));
      } else this.#on.error(err);
    } finally {
      this.#asking = false;
      if (this.#id !== null && id !== this.#id) this.#load(); // another one was chosen meanwhile
    }
  }

  #back() {
    const back = element('button', { type: 'button' }, 'Close panel');
    back.addEventListener('click', () => this.#on.go(null));
    return back;
  }

  #draw({ connection: c, subscriptions, total }) {
    if (!this.#parts) {
      const end = element('button', { type: 'button', class: 'danger' }, 'Close connection…');
      end.addEventListener('click', () => this.#askClose(this.#parts.connection));
      const terminate = element('button', { type: 'button', class: 'danger', hidden: true }, 'Terminate user…');
      terminate.addEventListener('click', () => this.#askTerminate(this.#parts.connection));
      this.#parts = { facts: element('dl', { class: 'facts' }), body: element('tbody'), note: element('p', { class: 'fine note bar' }), terminate };
      this.#box.replaceChildren(
        element('header', {}, element('div', { class: 'title' }, element('h2', {}, c.id), this.#back()), this.#parts.facts, element('div', { class: 'actions' }, end, terminate)),
        this.#parts.note,
        element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Channels of the connection' }, element('table', {}, element('thead', {}, element('tr', {},
          element('th', {}, 'Channel'), element('th', {}, 'State'), element('th', { class: 'right' }, 'Waiting'))), this.#parts.body)));
    }
    this.#parts.connection = c;
    this.#parts.terminate.hidden = !c.user;
    const facts = [['Lag', lagText(c)], ['User', c.user ?? '–'], ['Address', c.address], ['Protocol', c.protocol], ['App', c.app], ['Connected for', format.span(Math.max(0, Date.now() - c.since_ms))],
      ['In its queue', `${format.count(c.queued_frames)} ${c.queued_frames === 1 ? 'frame' : 'frames'}, ${format.bytes(c.queued_bytes)}`], ['Takes nothing for', c.blocked_ms ? format.span(c.blocked_ms) : '–']];
    update(this.#parts.facts, ...facts.map(([k, v]) => element('div', {}, element('dt', {}, k), element('dd', {}, v))));
    setText(this.#parts.note, total > subscriptions.length ? `The first ${subscriptions.length} of ${format.count(total)} channels.` : total === 1 ? '1 channel.' : `${format.count(total)} channels.`);
    const states = { live: ['live', 'good'], behind: ['behind', 'warn'], catching: ['catching up', 'info'] };
    update(this.#parts.body, ...subscriptions.map((s) => element('tr', {},
      element('td', { class: 'mono' }, element('a', { href: `#/channels?${new URLSearchParams({ app: c.app, channel: s.channel })}` }, s.channel)),
      element('td', {}, element('span', { class: `form ${states[s.state]?.[1] ?? ''}` }, states[s.state]?.[0] ?? s.state), s.deltas ? ' deltas' : ''),
      element('td', { class: 'right' }, waiting(s)))));
  }

  #askClose(c) {
    const reason = element('input', { maxlength: 100, placeholder: 'closed by an operator', autocomplete: 'off' });
    const back = element('select', {}, element('option', { value: 'later' }, 'after a moment (4100)'), element('option', { value: 'at_once' }, 'at once (4200)'), element('option', { value: 'never' }, 'not at all (4009)'));
    confirm('Close this connection?', [
      element('p', { class: 'fine wraps' }, c.user ? `${c.id} of ${c.user}, ${c.address}` : `${c.id}, ${c.address}`),
      element('label', {}, 'Reason, which the client is told', reason), element('label', {}, 'The client comes back', back),
    ], 'Close connection', async () => {
      await tell('close', { id: c.id, reason: reason.value, return: back.value });
      this.#on.notice(`Connection ${c.id} was closed.`);
      this.refresh();
    });
  }

  #askTerminate(c) {
    confirm('Terminate this user?', [element('p', { class: 'wraps' }, `All connections of ${c.user} are closed, on every gateway. Their clients do not come back by themselves.`)], 'Terminate user', async () => {
      await tell('terminate', { app: c.app, user: c.user });
      this.#on.notice(`The connections of ${c.user} were terminated.`);
      this.refresh();
    });
  }
}

// waiting says how much of a channel has not left for a connection, and how old it is.
function waiting(s) {
  const events = s.skipped ? `${format.count(s.waiting)}, ${format.count(s.skipped)} skipped` : format.count(s.waiting);
  return s.lag_ms ? `${events} · ${format.span(s.lag_ms)}` : events;
}

// confirm asks before something is done that cannot be undone.
function confirm(title, content, label, act) {
  const dialog = byID('confirm');
  const wrong = element('p', { class: 'wrong', role: 'alert' });
  const cancel = element('button', { type: 'button' }, 'Cancel');
  const go = element('button', { type: 'submit', class: 'danger' }, label);
  const form = element('form', { method: 'dialog' }, element('h2', { id: 'confirm-title' }, title), ...content, wrong, element('div', { class: 'actions' }, cancel, go));
  cancel.addEventListener('click', () => dialog.close());
  form.addEventListener('submit', async (e) => {
    e.preventDefault();
    go.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (err) {
      wrong.textContent = err.message;
      go.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}
