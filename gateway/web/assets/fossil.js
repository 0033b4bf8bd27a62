// Decoder of Fossil deltas (protocol section 3.16).

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~';
const valueOf = new Int8Array(256).fill(-1);
for (let i = 0; i < digits.length; i++) valueOf[digits.charCodeAt(i)] = i;

const LF = 10, COMMA = 44, COLON = 58, SEMICOLON = 59, AT = 64;
const defaultLimit = 4 << 20;

// A delta that is malformed or does not fit its base.
export class DeltaError extends Error {
  name = 'DeltaError';
}

// The sum of the big-endian 32-bit words of bytes, the last word padded with
// zeros at its low end, modulo 2^32.
export function checksum(bytes) {
  let sum = 0;
  const whole = bytes.length & ~3;
  let i = 0;
  for (; i < whole; i += 4) {
    sum = (sum + ((bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3])) >>> 0;
  }
  for (let shift = 24; i < bytes.length; i++, shift -= 8) sum = (sum + (bytes[i] << shift)) >>> 0;
  return sum;
}

// Rebuilds the target of a delta. base and delta are Uint8Arrays and only read;
// the result is a new Uint8Array of at most `limit` bytes. Throws a DeltaError
// for anything that is not a complete delta against exactly this base.
export function applyFossil(base, delta, limit = defaultLimit) {
  let pos = 0;

  function integer() {
    let value = 0;
    const start = pos;
    while (pos < delta.length && valueOf[delta[pos]] >= 0) {
      // Multiplied, not shifted: a shift would wrap silently at 32 bits.
      value = value * 64 + valueOf[delta[pos++]];
      if (value > 0xffffffff) throw new DeltaError(`number at byte ${start} is too large`);
    }
    if (pos === start) throw new DeltaError(`number expected at byte ${start}`);
    return value;
  }

  function expect(byte, what) {
    if (delta[pos++] !== byte) throw new DeltaError(`${what} expected at byte ${pos - 1}`);
  }

  const length = integer();
  expect(LF, 'line feed');
  if (length > limit) throw new DeltaError(`target of ${length} bytes is above the limit of ${limit}`);
  const target = new Uint8Array(length);
  let filled = 0;

  for (;;) {
    const count = integer();
    const command = delta[pos++];
    if (command === SEMICOLON) {
      if (filled !== length) throw new DeltaError(`${filled} bytes were built, ${length} announced`);
      if (count !== checksum(target)) throw new DeltaError('bad checksum');
      return target;
    }
    if (command !== AT && command !== COLON) throw new DeltaError(`unknown command at byte ${pos - 1}`);
    if (filled + count > length) throw new DeltaError('the commands build more than was announced');
    if (command === AT) {
      const offset = integer();
      expect(COMMA, 'comma');
      if (offset + count > base.length) throw new DeltaError('copy reaches beyond the base');
      target.set(base.subarray(offset, offset + count), filled);
    } else {
      if (pos + count > delta.length) throw new DeltaError('insert reaches beyond the delta');
      target.set(delta.subarray(pos, pos + count), filled);
      pos += count;
    }
    filled += count;
  }
}
