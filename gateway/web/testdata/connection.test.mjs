// Run by the Go test of this package with `node --test`.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Connection, delay, reaction } from '../assets/connection.js';

// A socket that the test plays the server of.
class FakeSocket {
  static OPEN = 1;
  static made = [];
  readyState = 1;
  sent = [];
  constructor(url) {
    this.url = url;
    FakeSocket.made.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; }
  says(event, data, channel) { this.onmessage({ data: JSON.stringify({ event, channel, data }) }); }
  closes(code, reason = '') { this.readyState = 3; this.onclose({ code, reason }); }
}
globalThis.WebSocket = FakeSocket;

function start(delta = true) {
  FakeSocket.made = [];
  const log = [];
  const on = Object.fromEntries(['state', 'event', 'subscribed', 'refused', 'problem'].map((name) => [name, (...args) => log.push([name, ...args])]));
  const connection = new Connection('ws://test/app/k', { delta, on });
  connection.subscribe('a');
  connection.open();
  return { connection, log, socket: () => FakeSocket.made.at(-1) };
}
const establish = (socket) => socket.says('pusher:connection_established', JSON.stringify({ socket_id: '1.2', activity_timeout: 120 }));

test('close codes decide whether to come back', () => {
  for (const code of [4000, 4001, 4009, 4099, 4300, 4301]) assert.equal(reaction(code).retry, false, code);
  for (const code of [4100, 4199, 1000, 1001, 1006]) assert.deepEqual(reaction(code), { retry: true, wait: true }, code);
  for (const code of [4200, 4201, 4299]) assert.deepEqual(reaction(code), { retry: true, wait: false }, code);
});

test('delays grow to a bound', () => {
  assert.equal(delay(0, false, 0.5), 0);
  assert.equal(delay(0, true, 0.5), 1000);
  assert.equal(delay(3, true, 0.5), 8000);
  assert.equal(delay(50, true, 0.5), 15000);
});

test('greets, subscribes and asks for deltas', () => {
  const { socket, log, connection } = start();
  establish(socket());
  assert.deepEqual(socket().sent, [
    { event: 'pusher:enable_delta_compression', data: { algorithms: ['fossil'] } },
    { event: 'pusher:subscribe', data: { auth: '', channel: 'a' } },
  ]);
  assert.deepEqual(log.at(-1), ['state', 'connected', '1.2']);
  connection.close();
});

test('without deltas it does not ask for them', () => {
  const { socket, connection } = start(false);
  establish(socket());
  assert.deepEqual(socket().sent.map((f) => f.event), ['pusher:subscribe']);
  connection.close();
});

test('comes back after a restart of the server and subscribes again', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { socket, connection, log } = start();
  establish(socket());
  socket().closes(4200, 'reconnect now');
  mock.timers.tick(0);
  assert.equal(FakeSocket.made.length, 2);
  socket().closes(1006);
  mock.timers.tick(100);
  assert.equal(FakeSocket.made.length, 2, 'it waits after a failed try');
  mock.timers.tick(5000);
  assert.equal(FakeSocket.made.length, 3);
  establish(socket());
  assert.ok(socket().sent.some((f) => f.event === 'pusher:subscribe' && f.data.channel === 'a'));
  assert.equal(log.at(-1)[1], 'connected');
  connection.close();
  mock.timers.reset();
});

test('stays away when it is refused, and says what the server said', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { socket, log } = start();
  socket().says('pusher:error', { code: 4001, message: 'no app with this key' });
  socket().closes(4001);
  mock.timers.tick(60_000);
  assert.equal(FakeSocket.made.length, 1);
  assert.deepEqual(log.at(-1), ['state', 'stopped', 'no app with this key']);
  mock.timers.reset();
});

test('pings a silent server and leaves when there is no answer', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { socket, connection } = start();
  establish(socket());
  const first = socket();
  mock.timers.tick(120_000);
  assert.equal(first.sent.at(-1).event, 'pusher:ping');
  first.says('pusher:pong', {});
  mock.timers.tick(30_000);
  assert.equal(FakeSocket.made.length, 1, 'the answer kept it');
  mock.timers.tick(120_000);
  assert.equal(first.sent.at(-1).event, 'pusher:ping');
  mock.timers.tick(31_000);
  assert.equal(FakeSocket.made.length, 2);
  connection.close();
  mock.timers.reset();
});

test('answers pings', () => {
  const { socket, connection } = start();
  establish(socket());
  socket().says('pusher:ping', {});
  assert.deepEqual(socket().sent.at(-1), { event: 'pusher:pong', data: {} });
  connection.close();
});

test('asks for full messages when a delta cannot be decoded', () => {
  const { socket, connection, log } = start();
  establish(socket());
  socket().says('pusher:delta', { event: 'e', delta: 'AA==', seq: 2, algorithm: 'fossil', base_index: 1 }, 'a');
  assert.deepEqual(socket().sent.at(-1), { event: 'pusher:delta_sync_error', data: { channel: 'a' } });
  assert.equal(log.at(-1)[0], 'problem');
  connection.close();
});

test('forgets a channel that the server refuses', () => {
  const { socket, connection, log } = start();
  establish(socket());
  socket().says('pusher:subscription_error', JSON.stringify({ type: 'AuthError', error: 'no signature', status: 401 }), 'a');
  assert.deepEqual(log.at(-1), ['refused', 'a', 'no signature']);
  socket().says('late', '{}', 'a');
  assert.equal(log.at(-1)[0], 'refused');
  connection.close();
});
