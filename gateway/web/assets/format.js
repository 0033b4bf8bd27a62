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

const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

// The parts of JSON as they were written, except for needless escapes: a parser would round large
// numbers and forget repeated keys. null if the text is no JSON.
function parts(text) {
  try {
    JSON.parse(text);
    return text.match(token).map((t) => t[0] === '"' ? JSON.stringify(JSON.parse(t)) : t);
  } catch {
    return null;
  }
}

// What is nested more deeply is not indented further, or a short text would become a huge one.
const deepest = 20;

// The whole payload, indented if it is JSON.
export function pretty(data) {
  const text = typeof data === 'string' ? data : JSON.stringify(data) ?? '';
  let depth = 0;
  let before = '';
  const line = () => `\n${'  '.repeat(Math.min(depth, deepest))}`;
  return parts(text)?.map((t) => {
    const begins = before === '{' || before === '[';
    const closes = t === '}' || t === ']';
    if (closes) depth--;
    const out = (closes ? !begins : begins || before === ',') ? line() + t : t;
    if (t === '{' || t === '[') depth++;
    before = t;
    return t === ':' ? ': ' : out;
  }).join('') ?? text;
}

// Text as one word of a shell command.
export const quoted = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

// A number per second, as exact as it means something.
export const rate = (n) => n >= 100 ? count(Math.round(n)) : n >= 10 ? n.toFixed(0) : n > 0 ? n.toFixed(1) : '0';

// How long something takes, or is ago.
export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

// JSON as one line, without the escapes that whoever wrote it had no need of.
export const oneLine = (text) => parts(text)?.join('') ?? text;
