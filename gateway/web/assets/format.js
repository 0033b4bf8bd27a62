// Text for people.

const thousands = new Intl.NumberFormat('en-US');
const units = ['B', 'kB', 'MB', 'GB', 'TB'];

export const count = (n) => thousands.format(n);

// 1 kB is 1,000 bytes, as networks count.
export function bytes(n) {
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}

export const percent = (part, whole) => whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : '–';

const two = (n) => String(n).padStart(2, '0');

export function clock(ms) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

export function day(ms) {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`;
}

const previewLength = 400;

// One line that shows the beginning of a payload.
export function preview(data) {
  const text = typeof data === 'string' ? data : JSON.stringify(data) ?? '';
  return text.length > previewLength ? `${text.slice(0, previewLength)}…` : text;
}

// The whole payload, indented if it is JSON.
export function pretty(data) {
  if (typeof data !== 'string') return JSON.stringify(data, null, 2) ?? '';
  try {
    return JSON.stringify(JSON.parse(data), null, 2);
  } catch {
    return data;
  }
}

// Text as one word of a shell command.
export const quoted = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
