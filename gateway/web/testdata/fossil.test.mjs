// Run by the Go test of this package with `node --test`. FOSSIL_DELTA may name
// the module file of the npm package fossil-delta; then deltas of its encoder
// are decoded as well.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { applyFossil, checksum, DeltaError } from '../assets/fossil.js';

const bytes = (text) => new TextEncoder().encode(text);
const text = (b) => new TextDecoder('utf-8', { fatal: true }).decode(b);
const fromBase64 = (s) => new Uint8Array(Buffer.from(s, 'base64'));

// Protocol section 3.18.
const vectors = [
  {
    name: 'vector 1',
    base: String.raw`{"event":"tick","channel":"market-data","data":"{\"symbol\":\"BTC\",\"price\":\"64250.10\",\"volume\":\"1204.5\",\"venue\":\"alpha-exchange\"}"}`,
    target: String.raw`{"event":"tick","channel":"market-data","data":"{\"symbol\":\"BTC\",\"price\":\"64251.75\",\"volume\":\"1206.0\",\"venue\":\"alpha-exchange\"}"}`,
    delta: fromBase64('MkcKMUtAMCwzOjEuNzdAMWksRzpvbHVtZVwiOlwiMTIwNi4wWUAxaiwxNjRpZzk7'),
  },
  {
    name: 'vector 2',
    base: '{"event":"tick","channel":"market-data","data":{"symbol":"BTC","price":"64250.10","volume":"1204.5","venue":"alpha-exchange"},"sequence":731204,"conflation_key":"BTC","message_id":"0191f3a0-0001","stream_id":"st-1","serial":41}',
    target: '{"event":"tick","channel":"market-data","data":{"symbol":"BTC","price":"64251.75","volume":"1206.0","venue":"alpha-exchange"},"message_id":"0191f3a0-0002","stream_id":"st-1","serial":42}',
    delta: fromBase64('MnYKMUNAMCxtOjEuNzUiLCJ2b2x1bWUiOiIxMjA2LjAiLCJ2ZW51ZSI6ImFscGhhLWV4Y2hhbmdlIn1SQDJiLDE6MlZAMzIsMjoyfUp2ZFZPOw=='),
  },
  { name: 'an empty base', base: '', target: 'x', delta: bytes('1\n1:x1t0000;') },
  { name: 'a short text', base: 'short', target: 'short', delta: bytes('5\n5:short3cQ6yn;') },
  { name: 'an unchanged text', base: 'a'.repeat(40), target: 'a'.repeat(40), delta: bytes('d\nd@0,3DoSsA;') },
  { name: 'text of two bytes a character', base: 'é'.repeat(20) + '1', target: 'é'.repeat(20) + '2', delta: bytes('e\nd@0,1:23MdQIQ;') },
];

for (const v of vectors) {
  test(`rebuilds ${v.name}`, () => {
    assert.equal(text(applyFossil(bytes(v.base), v.delta)), v.target);
  });
}

test('refuses a wrong base by its checksum', () => {
  const [v] = vectors;
  assert.throws(() => applyFossil(bytes(v.base.replace('BTC', 'ETH')), v.delta), { name: 'DeltaError', message: 'bad checksum' });
});

const refused = [
  ['nothing at all', ''],
  ['no length', '\n1:x1t0000;'],
  ['no line feed', '11:x1t0000;'],
  ['no checksum', '1\n1:x'],
  ['a checksum of another text', '1\n1:x1t0001;'],
  ['a checksum beyond 32 bits', '1\n1:x51t0000;'],
  ['an insert beyond the delta', '5\n5:ab'],
  ['a copy beyond the base', '4\n4@3,0;'],
  ['a copy without a comma', '1\n1@0;0;'],
  ['more than was announced', '1\n2:xx1t0000;'],
  ['less than was announced', '2\n1:x1t0000;'],
  ['an unknown command', '1\n1!x;'],
  ['a target above the limit', '~~~~~\n0;'],
];
for (const [name, delta] of refused) {
  test(`refuses ${name}`, () => {
    assert.throws(() => applyFossil(bytes('base'), bytes(delta)), DeltaError);
  });
}

test('cuts of a valid delta are refused', () => {
  const [v] = vectors;
  for (let n = 0; n < v.delta.length; n++) {
    assert.throws(() => applyFossil(bytes(v.base), v.delta.subarray(0, n)), DeltaError, `cut after ${n} bytes`);
  }
});

test('the checksum equals a plain sum of words', () => {
  const naive = (b) => {
    let sum = 0n;
    for (let i = 0; i < b.length; i += 4) {
      let word = 0n;
      for (let j = 0; j < 4; j++) word = word * 256n + BigInt(b[i + j] ?? 0);
      sum += word;
    }
    return Number(sum % (1n << 32n));
  };
  let seed = 7;
  for (let n = 0; n < 100; n++) {
    const b = Uint8Array.from({ length: n }, () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 16 & 0xff);
    assert.equal(checksum(b), naive(b));
  }
});

test('decodes what the npm package encodes', { skip: !process.env.FOSSIL_DELTA }, async () => {
  const fossil = await import(pathToFileURL(process.env.FOSSIL_DELTA));
  let seed = 1;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  let base = bytes('{"device":"cpu","load":[0.5,0.25,0.125],"name":"Zürich – 🙂"}'.repeat(4));
  for (let round = 0; round < 300; round++) {
    const target = Uint8Array.from(base);
    for (let i = random(6); i >= 0; i--) target[random(target.length)] = random(256);
    const next = random(10) ? target : target.subarray(0, random(target.length) + 1);
    const delta = Uint8Array.from(fossil.createDelta(base, next));
    assert.deepEqual(applyFossil(base, delta), Uint8Array.from(next), `round ${round}`);
    base = next.length > 40 ? next : base;
  }
});
