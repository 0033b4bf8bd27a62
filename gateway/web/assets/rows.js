// Rows of events that open to show everything.
import * as format from './format.js';
import { element } from './dom.js';

const svg = (tag, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
};

// The part of the full size that travelled, as a bar.
function bar(entry) {
  const chart = svg('svg', { viewBox: '0 0 100 6', preserveAspectRatio: 'none', class: entry.form, 'aria-hidden': 'true' });
  chart.append(svg('rect', { width: entry.full > 0 ? Math.min(100, 100 * entry.wire / entry.full) : 0, height: 6 }));
  return chart;
}

const explained = {
  full: 'Sent in full. Later messages with this key can be deltas of it.',
  delta: 'Sent as a delta and rebuilt here.',
  plain: 'Sent in full, outside of delta compression.',
};

// Row of a live event. opened is called when somebody opens it.
export function liveRow(entry, opened) {
  return row(entry, opened, [
    element('time', { datetime: new Date(entry.at).toISOString() }, format.clock(entry.at)),
    element('span', { class: `form ${entry.form}`, title: explained[entry.form] }, entry.form),
    element('span', { title: `${entry.channel} · ${entry.event}` }, element('span', { class: 'channel' }, `${entry.channel} · `), entry.event),
    element('span', { class: 'key', title: entry.key ?? '' }, entry.key ?? ''),
    element('span', { class: 'size', title: `${format.count(entry.wire)} bytes travelled for ${format.count(entry.full)}` },
      element('b', {}, String(entry.wire)), bar(entry), element('span', {}, `/ ${entry.full}`)),
    element('span', { class: 'data' }, format.preview(entry.data)),
  ], () => [
    ['channel', entry.channel], ['event', entry.event], ['form', entry.form],
    ['on the wire', `${format.count(entry.wire)} B`], ['in full', `${format.count(entry.full)} B`],
    ['key', entry.key], ['number', entry.number], ['base', entry.base],
  ]);
}

// Row of a history item (protocol section 5.6).
export function historyRow(item) {
  const data = item.message?.data ?? '';
  return row({ data }, () => {}, [
    element('time', { datetime: new Date(item.published_at_ms).toISOString() }, format.day(item.published_at_ms)),
    element('span', { class: 'serial', title: 'serial' }, `#${item.serial}`),
    element('span', { title: item.event_name }, item.event_name),
    element('span', { class: 'serial' }, `${format.count(item.payload_size_bytes ?? 0)} B`),
    element('span', { class: 'data' }, format.preview(data)),
  ], () => [
    ['event', item.event_name], ['serial', item.serial], ['stream', item.stream_id], ['message', item.message_id],
    ['size', `${format.count(item.payload_size_bytes ?? 0)} B`],
  ]);
}

function row(entry, opened, cells, facts) {
  const button = element('button', { class: 'row', type: 'button', 'aria-expanded': 'false' }, ...cells);
  const item = element('li', {}, button);
  let detail = null;
  button.addEventListener('click', () => {
    if (detail) {
      detail.remove();
      detail = null;
    } else {
      detail = element('div', { class: 'detail' },
        element('dl', {}, ...facts().filter(([, v]) => v !== undefined && v !== null && v !== '')
          .map(([k, v]) => element('div', {}, element('dt', {}, k), element('dd', {}, String(v))))),
        element('pre', {}, format.pretty(entry.data)));
      item.append(detail);
      opened();
    }
    button.setAttribute('aria-expanded', String(detail !== null));
  });
  return item;
}
