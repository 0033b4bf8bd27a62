// Two sockets on one channel: one with delta compression, one without. Every
// delta is decoded with the npm package fossil-delta, and what comes out is
// compared, byte for byte, with the text made from the frame that the socket
// without deltas received. Prints a JSON line when both are subscribed, and a
// summary when the expected number of events has arrived or input ends.
// Arguments: host port key channel expected.
import WebSocket from 'ws';
import { applyDelta } from 'fossil-delta';

const [host, port, key, channel, expected] = process.argv.slice(2);
const url = `ws://${host}:${port}/app/${key}?protocol=7&client=js&version=8.6.0&flash=false`;
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const isEvent = (frame) => frame.channel === channel && !frame.event.startsWith('pusher_internal:');

const plain = [];    // frames of the socket without deltas
const rebuilt = [];  // texts of the socket with deltas: {text, form, wire}
const bases = new Map();
const problems = [];
let ready = 0;

function open(onFrame, greet) {
  const socket = new WebSocket(url);
  socket.on('message', (bytes) => {
    const text = bytes.toString('utf8');
    const frame = JSON.parse(text);
    switch (frame.event) {
      case 'pusher:connection_established':
        greet(socket);
        socket.send(JSON.stringify({ event: 'pusher:subscribe', data: { auth: '', channel } }));
        return;
      case 'pusher:ping':
        socket.send(JSON.stringify({ event: 'pusher:pong', data: {} }));
        return;
      case 'pusher_internal:subscription_succeeded':
        if (++ready === 2) print({ subscribed: channel });
        return;
      case 'pusher:error':
        problems.push(`error event: ${text}`);
        return;
    }
    if (isEvent(frame)) onFrame(frame, text, bytes);
    settle();
  });
  socket.on('close', (code) => problems.push(`closed with ${code}`));
  return socket;
}

const keyOf = (frame) => frame.conflation_key ?? '';

function withDelta(frame, text, bytes) {
  if (frame.event !== 'pusher:delta') {
    if (frame.sequence !== undefined) bases.set(`${keyOf(frame)}/${frame.sequence}`, bytes);
    rebuilt.push({ text, form: frame.sequence === undefined ? 'plain' : 'full', wire: bytes.length });
    return;
  }
  const d = frame.data;
  const base = bases.get(`${keyOf(d)}/${d.base_index}`);
  if (!base) {
    problems.push(`no base ${d.base_index} for ${d.seq}`);
    return;
  }
  if (d.algorithm !== 'fossil') problems.push(`algorithm ${d.algorithm}`);
  const target = Buffer.from(applyDelta(base, Buffer.from(d.delta, 'base64')));
  const marked = JSON.parse(target.toString('utf8'));
  if (marked.sequence !== d.seq) problems.push(`numbers differ: ${marked.sequence} and ${d.seq}`);
  if (marked.event !== d.event) problems.push(`names differ: ${marked.event} and ${d.event}`);
  bases.set(`${keyOf(d)}/${d.seq}`, target);
  rebuilt.push({ text: target.toString('utf8'), form: 'delta', wire: bytes.length });
}

// What the tracked text must be, made from the frame without deltas.
function markedText(frame, sequence, conflationKey) {
  let data = JSON.stringify(frame.data);
  try {
    const value = JSON.parse(frame.data);
    if (typeof value === 'object' && value !== null) data = frame.data;
  } catch { /* not JSON: it stays a string */ }
  const mark = sequence === undefined ? '' : `,"sequence":${sequence}`;
  const keyed = conflationKey === undefined ? '' : `,"conflation_key":${JSON.stringify(conflationKey)}`;
  return `{"event":${JSON.stringify(frame.event)},"channel":${JSON.stringify(frame.channel)},"data":${data}${mark}${keyed}}`;
}

let done = false;
function settle(force) {
  if (done || (!force && (plain.length < expected || rebuilt.length < expected))) return;
  done = true;
  if (!force) {
    // A feed that goes on may have reached one of the sockets with more.
    plain.length = Number(expected);
    rebuilt.length = Number(expected);
  }
  const sum = { events: plain.length, full: 0, delta: 0, plain: 0, wire: 0, original: 0 };
  if (plain.length !== rebuilt.length) problems.push(`${plain.length} events without and ${rebuilt.length} with deltas`);
  for (let i = 0; i < Math.min(plain.length, rebuilt.length); i++) {
    const got = rebuilt[i];
    const frame = JSON.parse(got.text);
    const want = markedText(plain[i], frame.sequence, frame.conflation_key);
    if (got.text !== want) problems.push(`event ${i}: got ${got.text.slice(0, 200)} want ${want.slice(0, 200)}`);
    sum[got.form]++;
    sum.wire += got.wire;
    sum.original += Buffer.byteLength(got.text);
  }
  print({ summary: sum, problems: problems.slice(0, 10) });
  process.exit(problems.length ? 1 : 0);
}

open((frame) => plain.push(frame), () => {});
open(withDelta, (s) => s.send(JSON.stringify({ event: 'pusher:enable_delta_compression', data: { algorithms: ['fossil'] } })));
process.stdin.resume();
process.stdin.on('end', () => settle(true));
