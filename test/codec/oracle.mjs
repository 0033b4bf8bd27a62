// Decodes deltas with the public decoders and compares what comes out, byte for
// byte. Records on standard input: base, target, Fossil delta, VCDIFF delta, each
// preceded by its length as 4 bytes big-endian. Prints one JSON line at the end.
import { createRequire } from 'node:module';
import { applyDelta } from 'fossil-delta';

const { decode } = createRequire(import.meta.url)('@ably/vcdiff-decoder');
const decoders = [
  ['fossil-delta', (base, delta) => applyDelta(base, delta)],
  ['vcdiff-decoder', (base, delta) => decode(delta, base)],
];

let pending = Buffer.alloc(0);
let pairs = 0;
const problems = [];

// take returns the four parts of the first record, or nothing if it is not
// there yet, and the place after it.
function take(from) {
  const parts = [];
  for (let i = 0; i < 4; i++) {
    if (pending.length < from + 4) return [];
    const size = pending.readUInt32BE(from);
    if (pending.length < from + 4 + size) return [];
    parts.push(pending.subarray(from + 4, from + 4 + size));
    from += 4 + size;
  }
  return [parts, from];
}

function check([base, target, ...deltas]) {
  pairs++;
  decoders.forEach(([name, apply], i) => {
    try {
      if (target.equals(Buffer.from(apply(base, deltas[i])))) return;
      problems.push(`${name}: pair ${pairs} is rebuilt wrongly`);
    } catch (error) {
      problems.push(`${name}: pair ${pairs}: ${error}`);
    }
  });
}

for await (const chunk of process.stdin) {
  pending = Buffer.concat([pending, chunk]);
  let at = 0;
  for (let [parts, next] = take(0); parts; [parts, next] = take(at)) {
    check(parts);
    at = next;
  }
  pending = pending.subarray(at);
}
if (pending.length) problems.push(`${pending.length} bytes of an unfinished record`);
console.log(JSON.stringify({ pairs, count: problems.length, problems: problems.slice(0, 10) }));
