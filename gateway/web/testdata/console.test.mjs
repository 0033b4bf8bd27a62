// The words and the pace of the console.
import assert from 'node:assert/strict';
import test from 'node:test';
import { lagText } from '../assets/lag.js';
import { wait } from '../assets/replay.js';
import * as format from '../assets/format.js';
import { Calm } from '../assets/calm.js';

const calm = { lag_events: 0, lag_ms: 0, blocked_ms: 0, behind: 0, catching_up: 0, closing: false };

test('lag is told in events and in time', () => {
  for (const [what, want] of [
    [{}, 'none'],
    [{ lag_events: 1, lag_ms: 12 }, '1 event, 12 ms'],
    [{ lag_events: 1234, lag_ms: 5600 }, '1,234 events, 5.6 s'],
    [{ blocked_ms: 61_000 }, 'stuck for 1 min'],
    [{ lag_events: 2, lag_ms: 100, blocked_ms: 3000 }, '2 events, 3.0 s'],
    [{ catching_up: 1, lag_events: 9 }, 'catching up'],
    [{ closing: true, lag_events: 9 }, 'closing'],
  ]) assert.equal(lagText({ ...calm, ...what }), want);
});

test('a replay keeps the distance of events, by its speed', () => {
  assert.equal(wait(1000, 1), 1000);
  assert.equal(wait(1000, 5), 200);
  assert.equal(wait(1000, 0), 0); // as fast as possible
  assert.equal(wait(3_600_000, 1), 2000); // silences are cut short
  assert.equal(wait(-5, 1), 0); // times need not rise
});

test('spans and rates', () => {
  for (const [ms, want] of [[0, '0 ms'], [999, '999 ms'], [1500, '1.5 s'], [59_999, '60 s'], [60_000, '1 min'], [3_700_000, '1 h 1 min'], [3 * 86_400_000, '3 days']]) assert.equal(format.span(ms), want);
  for (const [n, want] of [[0, '0'], [0.25, '0.3'], [12.4, '12'], [1234.6, '1,235']]) assert.equal(format.rate(n), want);
});

test('data is shown as it was written, indented', () => {
  for (const [data, want] of [
    ['{"id":12345678901234567890,"x":1.50,"big":1e999}', '{\n  "id": 12345678901234567890,\n  "x": 1.50,\n  "big": 1e999\n}'],
    ['{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'],
    [' [ 1 ,[],{ } , "a\\u00e9\\/[,:\\"" , null ] ', '[\n  1,\n  [],\n  {},\n  "aé/[,:\\"",\n  null\n]'],
    ['"text"', '"text"'], ['', ''], ['{"a":', '{"a":'], ['[1,]', '[1,]'], ['plain, text', 'plain, text'], [{ a: [true] }, '{\n  "a": [\n    true\n  ]\n}'],
  ]) assert.equal(format.pretty(data), want);
  assert.equal(format.oneLine('{ "id" : 12345678901234567890, "name":"\\u00e9" }'), '{"id":12345678901234567890,"name":"é"}');
  assert.equal(format.oneLine('no {json'), 'no {json');
});

// Indenting by the depth would make 32 MB of these 8 kB, which stop the page.
test('what is nested deeply or long is shown in little more than its size', () => {
  for (const data of ['['.repeat(4000) + ']'.repeat(4000), '{"a":'.repeat(2000) + '1' + '}'.repeat(2000), JSON.stringify('\\"'.repeat(1_000_000))]) {
    const text = format.pretty(data);
    assert.ok(text.length < 60 * data.length, `${text.length} characters for ${data.length}`);
    assert.equal(text.replace(/[\s]/g, ''), data);
  }
});

test('bursts are drawn together, and time is left between drawings', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const drawn = [];
  const pass = (ms) => {
    for (const end = now + ms; now < end;) {
      now++;
      t.mock.timers.tick(1);
    }
  };
  const calm = new Calm(() => {
    drawn.push(now);
    now += 40; // the drawing itself
  }, 250, () => now);
  for (let burst = 0; burst < 100; burst++) {
    calm.ask();
    calm.ask();
    pass(10);
  }
  pass(300);
  assert.ok(drawn[0] <= 1, `the first one is drawn after ${drawn[0]} ms`);
  assert.ok(drawn.length <= 5, `${drawn.length} drawings in a second`);
  drawn.reduce((before, at) => {
    assert.ok(at >= before + 290, `one at ${before}, the next at ${at}`);
    return at;
  });
  pass(1000);
  const calls = drawn.length;
  calm.ask();
  pass(2);
  assert.equal(drawn.length, calls + 1);
  pass(1000);
  assert.equal(drawn.length, calls + 1); // nobody has asked
});
