// A client that recovers as Sockudo's JavaScript client does (protocol section 5.7). Of each
// frame it drops repeats by `message_id` (the last 1000), then notes the position, then acts
// on protocol events, then delivers, and keeps numbered texts as bases. When it comes back it
// sends its subscriptions, one resume with every position it has, and the delta request;
// private channels subscribe later, as after a round trip for their signature. Deltas are
// decoded with the npm packages. Prints a JSON line per event and per summary.
// Arguments: host port key secret algorithm (or none) channel...
import WebSocket from 'ws';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { applyDelta } from 'fossil-delta';

const { decode } = createRequire(import.meta.url)('@ably/vcdiff-decoder');
const [host, port, key, secret, algorithm, ...channels] = process.argv.slice(2);
const url = `ws://${host}:${port}/app/${key}?protocol=2&client=js&version=2.2.0&flash=false`;
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');

const bases = new Map(); // channel -> conflation value -> texts, oldest first
const positions = new Map();
const ids = new Set(); // in the order in which they came
let socket;
let repeats = 0;
let granted = 0;

const say = (event, data) => socket.send(JSON.stringify({ event: `sockudo:${event}`, data }));

function subscribe(channel, socketID) {
  const auth = channel.startsWith('private-')
    ? `${key}:${createHmac('sha256', secret).update(`${socketID}:${channel}`).digest('hex')}` : '';
  say('subscribe', { auth, channel });
}

function keep(channel, value, seq, text) {
  if (!bases.has(channel)) bases.set(channel, new Map());
  const values = bases.get(channel);
  if (!values.has(value)) values.set(value, []);
  const list = values.get(value);
  list.push({ seq, text });
  if (list.length > 30) list.shift();
}

function rebuild(channel, d) {
  const base = bases.get(channel)?.get(d.conflation_key ?? '')?.find((entry) => entry.seq === d.base_index);
  if (!base) {
    print({ problem: `no base ${d.base_index} for ${d.seq} on ${channel}` });
    bases.delete(channel);
    say('delta_sync_error', { channel });
    return undefined;
  }
  const from = Buffer.from(base.text, 'utf8');
  const delta = Buffer.from(d.delta, 'base64');
  const text = Buffer.from(d.algorithm === 'xdelta3' ? decode(delta, from) : applyDelta(from, delta)).toString('utf8');
  keep(channel, d.conflation_key ?? '', d.seq, text);
  return JSON.parse(text);
}

function known(id) {
  if (ids.has(id)) return true;
  ids.add(id);
  if (ids.size > 1000) ids.delete(ids.values().next().value);
  return false;
}

function note(channel, p) {
  positions.set(channel, { stream_id: p.stream_id, serial: p.serial, last_message_id: p.last_message_id ?? p.message_id });
}

function deliver(frame, form) {
  const data = typeof frame.data === 'string' ? JSON.parse(frame.data) : frame.data;
  print({ channel: frame.channel, n: data.n, form });
}

function greeted(data) {
  const { socket_id: id } = JSON.parse(data);
  const [now, later] = [channels.filter((c) => !c.startsWith('private-')), channels.filter((c) => c.startsWith('private-'))];
  // One write, however busy the machine is: the server waits 50 ms for the resume of a client that
  // does not announce one.
  socket._socket.cork();
  now.forEach((channel) => subscribe(channel, id));
  if (positions.size > 0) say('resume', JSON.stringify({ channel_positions: Object.fromEntries(positions) }));
  if (algorithm !== 'none') say('enable_delta_compression', { algorithms: [algorithm] });
  socket._socket.uncork();
  const mine = socket;
  setTimeout(() => {
    if (mine === socket && mine.readyState === WebSocket.OPEN) later.forEach((channel) => subscribe(channel, id));
  }, 80);
}

function act(frame) {
  const data = typeof frame.data === 'string' ? frame.data : JSON.stringify(frame.data);
  switch (frame.event) {
    case 'sockudo:connection_established':
      return greeted(data);
    case 'sockudo_internal:subscription_succeeded':
      if (++granted === channels.length) print({ subscribed: true });
      return undefined;
    case 'sockudo:resume_success': {
      const { recovered, failed } = JSON.parse(data);
      recovered.filter((r) => r.position).forEach((r) => note(r.channel, r.position));
      return print({ recovered: recovered.length, failed: failed.length, repeats });
    }
    case 'sockudo:resume_failed': {
      const { channel, code } = JSON.parse(data);
      positions.delete(channel);
      print({ problem: `${channel}: ${code}` });
      return subscribe(channel, '');
    }
    case 'sockudo:ping':
      return say('pong', {});
    case 'sockudo:error':
      // The server says goodbye with 4200, or with 4100 if it is the only one and about to be gone.
      return [4100, 4200].includes(JSON.parse(data).code) ? undefined : print({ problem: data });
    case 'sockudo:subscription_error':
      return print({ problem: data });
  }
  return undefined;
}

function receive(text) {
  const frame = JSON.parse(text);
  if (frame.message_id && known(frame.message_id)) {
    repeats++;
    return;
  }
  if (frame.channel && frame.serial !== undefined) {
    // A frame without a stream keeps that of the position.
    note(frame.channel, { stream_id: positions.get(frame.channel)?.stream_id, ...frame });
  }
  if (frame.event === 'sockudo:delta') {
    const full = rebuild(frame.channel, frame.data);
    if (full) deliver(full, 'delta');
  } else if (frame.event.startsWith('sockudo')) {
    act(frame);
  } else {
    deliver(frame, frame.sequence === undefined ? 'plain' : 'full');
    if (frame.sequence !== undefined) keep(frame.channel, frame.conflation_key ?? '', frame.sequence, text);
  }
}

function connect() {
  granted = 0;
  socket = new WebSocket(url);
  socket.on('message', (bytes) => {
    try {
      receive(bytes.toString('utf8'));
    } catch (error) {
      print({ problem: String(error) });
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(connect, 100));
}

connect();
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
