// Run by the Go test of this package with `node --test`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksum } from '../assets/fossil.js';
import { Frames } from '../assets/frames.js';

const full = (n, key, price) => `{"event":"tick","channel":"market","data":{"symbol":"${key}","price":${price},"venue":"Zürich"},"sequence":${n},"conflation_key":"${key}"}`;

// A delta that is one insert: enough to see which base was taken, because the
// decoder is tested elsewhere. Copying the whole base first proves that it is
// the right one.
const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~';
const int = (n) => n === 0 ? '0' : (n >= 64 ? int(Math.floor(n / 64)) : '') + digits[n % 64];
const utf8 = (s) => Buffer.from(s, 'utf8');
function deltaFrame(n, base, baseText, target, extra = '') {
  const b = utf8(baseText), t = utf8(target);
  let same = 0;
  while (same < b.length && b[same] === t[same]) same++;
  const rest = t.subarray(same);
  const body = Buffer.concat([utf8(`${int(t.length)}\n${same ? `${int(same)}@0,` : ''}${int(rest.length)}:`), rest, utf8(`${int(checksum(t))};`)]);
  return `{"event":"pusher:delta","channel":"market","data":{"event":"tick","delta":"${body.toString('base64')}","seq":${n},"algorithm":"fossil"${extra},"base_index":${base}}}`;
}
const keyed = (key) => `,"conflation_key":"${key}"`;

test('a frame without a number is plain and its data stays a string', () => {
  const text = '{"event":"greeting","channel":"c","data":"{\\"ü\\":1}"}';
  assert.deepEqual(new Frames().read(text), {
    event: 'greeting', channel: 'c', data: '{"ü":1}', form: 'plain', wire: utf8(text).length, full: utf8(text).length, key: undefined, number: undefined,
  });
});

test('deltas rebuild on the base of their own key', () => {
  const frames = new Frames();
  const btc = full(10, 'BTC', 1), eth = full(11, 'ETH', 2), next = full(12, 'BTC', 3), last = full(13, 'BTC', 4);
  assert.equal(frames.read(btc).form, 'full');
  assert.equal(frames.read(eth).key, 'ETH');
  const d = deltaFrame(12, 10, btc, next, keyed('BTC'));
  assert.deepEqual(frames.read(d), {
    event: 'tick', channel: 'market', data: { symbol: 'BTC', price: 3, venue: 'Zürich' }, form: 'delta',
    wire: d.length, full: utf8(next).length, key: 'BTC', number: 12, base: 10,
  });
  assert.equal(frames.read(deltaFrame(13, 12, next, last, keyed('BTC'))).data.price, 4);
});

test('a delta whose base is missing names its channel and drops the bases', () => {
  const frames = new Frames();
  const first = full(10, 'BTC', 1), next = full(12, 'BTC', 3);
  frames.read(first);
  const lost = (e) => e.name === 'DeltaError' && e.channel === 'market';
  assert.throws(() => frames.read(deltaFrame(12, 9, first, next, keyed('BTC'))), lost);
  assert.throws(() => frames.read(deltaFrame(12, 10, first, next, keyed('BTC'))), lost, 'the state was dropped');
  frames.read(first);
  assert.equal(frames.read(deltaFrame(12, 10, first, next, keyed('BTC'))).number, 12);
});

test('a base of another key is not taken', () => {
  const frames = new Frames();
  const first = full(10, 'BTC', 1);
  frames.read(first);
  assert.throws(() => frames.read(deltaFrame(12, 10, first, full(12, 'ETH', 3), keyed('ETH'))), { channel: 'market' });
});

test('an unknown algorithm is refused', () => {
  const frames = new Frames();
  const first = full(10, 'BTC', 1);
  frames.read(first);
  const d = deltaFrame(12, 10, first, full(12, 'BTC', 3), keyed('BTC')).replace('"fossil"', '"xdelta3"');
  assert.throws(() => frames.read(d), { channel: 'market' });
});

test('protocol events carry their data as an object', () => {
  const established = '{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.2\\",\\"activity_timeout\\":120}"}';
  assert.deepEqual(new Frames().read(established).data, { socket_id: '1.2', activity_timeout: 120 });
  assert.deepEqual(new Frames().read('{"event":"pusher:ping","data":{}}').data, {});
  assert.deepEqual(new Frames().read('{"event":"pusher:ping"}').data, {});
});
