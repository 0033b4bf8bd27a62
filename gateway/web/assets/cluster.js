// The view of the cluster: gateways, what they have otherwise, the log and its streams.
import { ask } from './server.js';
import { byID, element, update } from './dom.js';
import * as format from './format.js';
import { health } from './overview.js';

const block = (title, ...content) => element('section', { class: 'card block', 'aria-label': title }, element('header', {}, element('h2', {}, title)), ...content);

const cell = (text, attributes = {}) => element('td', attributes, text);

function table(label, heads, rows) {
  return element('div', { class: 'table', tabindex: 0, role: 'region', 'aria-label': label }, element('table', {},
    element('thead', {}, element('tr', {}, ...heads.map(([text, right]) => element('th', { class: right ? 'right' : '' }, text)))), element('tbody', {}, ...rows)));
}

export class Cluster {
  #asking = false;
  #onError;

  constructor(onError) { this.#onError = onError; }

  show() { this.refresh(); }

  async refresh() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      this.#draw(await ask('cluster'));
    } catch (err) {
      this.#onError(err);
    } finally {
      this.#asking = false;
    }
  }

  #draw(c) {
    const versions = new Set(c.gateways.map((g) => g.version).filter(Boolean));
    update(byID('cluster'),
      block(`Gateways (${c.gateways.length})`,
        table('Gateways', [['Address'], ['Version'], ['Id']], c.gateways.map((g) => element('tr', {},
          element('td', {}, element('span', { class: 'mono' }, g.label || 'not known yet'), ' ', g.self ? element('span', { class: 'form info' }, 'this one') : ''), cell(g.version || 'not known', { class: 'mono' }), cell(g.id, { class: 'mono' })))),
        versions.size > 1 ? element('p', { class: 'text fine' }, `There are ${versions.size} versions. That is as it should be during an upgrade only.`) : ''),
      block('Settings that differ', element('div', { class: 'text' }, ...(c.settings_differ.length
        ? c.settings_differ.map((d) => element('p', { class: 'mono wraps' }, d))
        : [element('p', { class: 'fine' }, c.gateways.length > 1 ? 'All gateways have the same settings where they must.' : 'There is one gateway.')]))),
      block('Log', element('div', { class: 'text health' }, ...health(c))),
      block('Streams', c.streams.length
        ? table('Streams', [['Stream'], ['For'], ['Messages', true], ['Size', true], ['Subjects', true], ['Copies', true], ['Leader']], c.streams.map(stream))
        : element('div', { class: 'text fine' }, c.streams_note || 'There are no streams.'),
      c.streams.length && c.streams_note ? element('p', { class: 'text fine' }, c.streams_note) : ''));
  }
}

function stream(s) {
  if (s.problem) return element('tr', {}, cell(s.name, { class: 'mono' }), cell(s.purpose), element('td', { colspan: 5, class: 'bad-text' }, s.problem));
  return element('tr', {}, cell(s.name, { class: 'mono' }), cell(s.purpose), cell(format.count(s.messages), { class: 'right' }), cell(format.bytes(s.bytes), { class: 'right' }),
    cell(format.count(s.subjects), { class: 'right' }), cell(String(s.copies), { class: 'right' }),
    element('td', {}, element('span', { class: 'mono' }, s.leader || (s.copies > 1 ? 'none' : '–')), s.late?.length ? element('span', { class: 'form warn' }, `not up to date: ${s.late.join(', ')}`) : ''));
}
