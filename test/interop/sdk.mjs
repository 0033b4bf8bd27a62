// A client that treats deltas as Sockudo's JavaScript client does: it keeps up to 30
// frames per conflation value, also across reconnects, takes the first one whose
// number fits, and asks for a resync when there is none. The decoders are the npm
// packages that client uses. Prints a JSON line per event.
// Arguments: host port key protocol algorithm channel... On standard input, `cut`
// breaks the connection, which is then restored, and `end` asks for statistics.
import WebSocket from 'ws';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { applyDelta } from 'fossil-delta';

const { decode } = createRequire(import.meta.url)('@ably/vcdiff-decoder');
const [host, port, key, protocol, algorithm, ...channels] = process.argv.slice(2);
const prefix = protocol === '2' ? 'sockudo:' : 'pusher:';
const url = `ws://${host}:${port}/app/${key}?protocol=${protocol}&client=js&version=2.2.0&flash=false`;
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');

const kept = new Map(); // channel -> key -> frames, oldest first
const stats = { deltas: 0, errors: [], resyncs: 0 };
const seen = new Set(); // message ids
let socket;
let waiting;

function keep(channel, value, seq, text) {
  if (!kept.has(channel)) kept.set(channel, new Map());
  const keys = kept.get(channel);
  if (!keys.has(value)) keys.set(value, []);
  const list = keys.get(value);
  list.push({ seq, text });
  if (list.length > 30) list.shift();
}

function rebuild(channel, d) {
  const list = kept.get(channel)?.get(d.conflation_key ?? '') ?? [];
  const base = list.find((entry) => entry.seq === d.base_index);
  if (!base) {
    stats.resyncs++;
    kept.delete(channel);
    socket.send(JSON.stringify({ event: `${prefix}delta_sync_error`, data: { channel } }));
    return undefined;
  }
  const from = Buffer.from(base.text, 'utf8');
  const bytes = Buffer.from(d.delta, 'base64');
  const target = d.algorithm === 'xdelta3' ? decode(bytes, from) : applyDelta(from, bytes);
  const text = Buffer.from(target).toString('utf8');
  keep(channel, d.conflation_key ?? '', d.seq, text);
  stats.deltas++;
  return JSON.parse(text);
}

function receive(text) {
  const frame = JSON.parse(text);
  if (frame.message_id) {
    if (seen.has(frame.message_id)) return;
    seen.add(frame.message_id);
  }
  if (frame.event.endsWith(':connection_established')) {
    for (const channel of channels) {
      socket.send(JSON.stringify({ event: `${prefix}subscribe`, data: { auth: '', channel } }));
    }
    socket.send(JSON.stringify({ event: `${prefix}enable_delta_compression`, data: { algorithms: [algorithm] } }));
    return;
  }
  if (frame.event.endsWith(':subscription_succeeded')) {
    waiting.delete(frame.channel);
    return;
  }
  if (frame.event === `${prefix}delta_compression_enabled`) {
    // The last answer: everything that follows may be a delta.
    if (waiting.size === 0) print({ ready: true });
    return;
  }
  if (frame.event === `${prefix}ping`) {
    socket.send(JSON.stringify({ event: `${prefix}pong`, data: {} }));
    return;
  }
  if (frame.event === `${prefix}delta`) {
    const full = rebuild(frame.channel, frame.data);
    if (full) print({ event: frame.data.event, channel: frame.channel, data: full.data });
    return;
  }
  if (frame.event.startsWith(prefix)) {
    stats.errors.push(text);
    return;
  }
  if (frame.sequence !== undefined) keep(frame.channel, frame.conflation_key ?? '', frame.sequence, text);
  print({ event: frame.event, channel: frame.channel, data: frame.data });
}

function connect() {
  waiting = new Set(channels);
  socket = new WebSocket(url);
  socket.on('message', (bytes) => {
    try {
      receive(bytes.toString('utf8'));
    } catch (error) {
      stats.errors.push(String(error));
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(connect, 50));
}

connect();
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'cut') {
    socket.terminate();
    continue;
  }
  print({ stats });
  process.exit(0);
}
