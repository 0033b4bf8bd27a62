// Understands the frames of a V1 socket and keeps the bases that deltas start
// from (protocol sections 1.2 and 3.7).
import { applyFossil, DeltaError } from './fossil.js';

const basesPerKey = 4;
const keysPerChannel = 1000;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

// One received frame, understood.
//   control: protocol event; {event, channel, data}
//   event:   {event, channel, data, form, wire, full, key, number, base}
//            form is 'plain', 'full' or 'delta'; wire and full are bytes.
export class Frames {
  #channels = new Map(); // channel -> key -> number -> text as bytes

  // Forgets the bases of a channel, or of all.
  forget(channel) {
    if (channel === undefined) this.#channels.clear();
    else this.#channels.delete(channel);
  }

  // Takes the text of one frame. Throws a DeltaError, with the channel as its
  // property, when a delta cannot be decoded; the bases of the channel are gone
  // then and the server must be told (protocol section 3.11).
  read(text) {
    const frame = JSON.parse(text);
    if (frame.event === 'pusher:delta') return this.#delta(frame, text);
    if (frame.event.startsWith('pusher:') || frame.event.startsWith('pusher_internal:')) {
      return { control: true, event: frame.event, channel: frame.channel, data: structured(frame.data) };
    }
    const bytes = encoder.encode(text);
    const tracked = Number.isInteger(frame.sequence);
    if (tracked) this.#keep(frame.channel, frame.conflation_key ?? '', frame.sequence, bytes);
    return {
      event: frame.event, channel: frame.channel, data: frame.data, form: tracked ? 'full' : 'plain',
      wire: bytes.length, full: bytes.length, key: frame.conflation_key, number: frame.sequence,
    };
  }

  #delta(frame, text) {
    const d = structured(frame.data);
    const key = d.conflation_key ?? '';
    try {
      if (d.algorithm !== 'fossil') throw new DeltaError(`algorithm ${d.algorithm} was not asked for`);
      const base = this.#channels.get(frame.channel)?.get(key)?.get(d.base_index);
      if (!base) throw new DeltaError(`base ${d.base_index} is not held`);
      const bytes = applyFossil(base, fromBase64(d.delta));
      const rebuilt = JSON.parse(decoder.decode(bytes));
      this.#keep(frame.channel, key, d.seq, bytes);
      return {
        event: d.event, channel: frame.channel, data: rebuilt.data, form: 'delta',
        wire: encoder.encode(text).length, full: bytes.length, key: rebuilt.conflation_key, number: d.seq, base: d.base_index,
      };
    } catch (cause) {
      this.forget(frame.channel);
      const failure = new DeltaError(cause.message, { cause });
      failure.channel = frame.channel;
      throw failure;
    }
  }

  #keep(channel, key, number, bytes) {
    let keys = this.#channels.get(channel);
    if (!keys) this.#channels.set(channel, keys = new Map());
    const bases = keys.get(key) ?? new Map();
    bases.set(number, bytes);
    if (bases.size > basesPerKey) bases.delete(bases.keys().next().value);
    // Set anew, so that the first key of the map is the least recently used.
    keys.delete(key);
    keys.set(key, bases);
    if (keys.size > keysPerChannel) keys.delete(keys.keys().next().value);
  }
}

function fromBase64(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// Protocol events carry objects, or strings that hold them.
function structured(data) {
  if (typeof data !== 'string') return data ?? {};
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}
