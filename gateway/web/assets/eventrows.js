// Events as rows that open to show everything. All text in them was written by strangers.
import { ask } from './server.js';
import { element } from './dom.js';
import * as format from './format.js';

const svg = (tag, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
};

const explained = {
  full: 'Subscribers with deltas get it in full.',
  delta: 'Subscribers with deltas get a delta.',
  plain: 'It takes no part in delta compression.',
};

export const doors = { http: 'HTTP API', client: 'a client', log: 'the log itself' };

function bar(e) {
  const chart = svg('svg', { viewBox: '0 0 100 6', preserveAspectRatio: 'none', class: e.form, 'aria-hidden': 'true' });
  chart.append(svg('rect', { width: e.full_bytes > 0 ? Math.min(100, 100 * e.wire_bytes / e.full_bytes) : 0, height: 6 }));
  return chart;
}

const shown = (e) => e.skipped ? `(skipped: ${e.skipped})` : format.preview(e.data);

// liveRow is an event as it was published. opened is called when somebody opens it.
export function liveRow(e, place, opened = () => {}) {
  return row(e, place, opened, [
    element('time', { datetime: new Date(e.at_ms).toISOString() }, format.clock(e.at_ms)),
    element('span', { class: `form ${e.form}`, title: explained[e.form] ?? '' }, e.form),
    element('span', { class: 'what', title: e.event }, e.event),
    element('span', { class: 'data' }, shown(e)),
    element('span', { class: 'size', title: `${format.count(e.wire_bytes)} bytes are sent for ${format.count(e.full_bytes)}` },
      element('b', {}, String(e.wire_bytes)), bar(e), element('span', {}, `/ ${e.full_bytes}`)),
  ]);
}

// storedRow is an event as the log has it.
export function storedRow(e, place, opened = () => {}) {
  return row(e, place, opened, [
    element('time', { datetime: new Date(e.at_ms).toISOString() }, format.day(e.at_ms)),
    element('span', { class: 'serial' }, `#${e.serial}`),
    element('span', { class: 'what', title: e.event }, e.event),
    element('span', { class: 'data' }, shown(e)),
    element('span', { class: 'size' }, format.bytes(e.size)),
  ]);
}

function row(e, place, opened, cells) {
  const button = element('button', { type: 'button', 'aria-expanded': 'false' }, ...cells);
  const item = element('li', { class: 'event' }, button);
  let more = null;
  button.addEventListener('click', () => {
    if (more) {
      more.remove();
      more = null;
    } else {
      more = details(e, place);
      item.append(more);
      opened();
    }
    button.setAttribute('aria-expanded', String(more !== null));
  });
  return item;
}

function details(e, place) {
  const facts = [
    ['event', e.event], ['serial', e.serial], ['stored', format.day(e.at_ms)], ['from', doors[e.from] ?? e.from], ['gateway', e.node], ['user', e.user],
    ['key', e.key], ['size', `${format.count(e.size)} B`],
    ['frame', e.form === 'delta' ? `${format.count(e.wire_bytes)} B as a delta, ${format.count(e.full_bytes)} B in full` : e.full_bytes ? `${format.count(e.full_bytes)} B` : ''],
    ['tags', e.tags ? Object.entries(e.tags).map(([k, v]) => `${k}=${v}`).join(', ') : ''], ['skipped', e.skipped], ['id', e.id], ['stream', e.stream],
  ];
  const data = element('pre', { tabindex: 0, 'aria-label': 'Data' }, format.pretty(e.data));
  if (new TextEncoder().encode(e.data).length < e.size) whole(e, place, data);
  return element('div', { class: 'more' },
    element('dl', { class: 'facts' }, ...facts.filter(([, v]) => v !== undefined && v !== null && v !== '')
      .map(([k, v]) => element('div', {}, element('dt', {}, k), element('dd', {}, String(v))))), data);
}

// whole puts all data in the place of its beginning. Until then it says that this is not all.
async function whole(e, place, into) {
  const beginning = into.textContent;
  const but = (what) => { into.textContent = `${beginning}\n… ${what}`; };
  into.setAttribute('aria-busy', 'true');
  but('the rest is on its way');
  try {
    const { events } = await ask('history', { ...place, from: e.serial, to: e.serial, limit: 1 });
    if (events.length) into.textContent = format.pretty(events[0].data);
    else but('the log does not have the rest any more');
  } catch (err) {
    but(`the rest cannot be read: ${err.message}`);
  } finally {
    into.removeAttribute('aria-busy');
  }
}
