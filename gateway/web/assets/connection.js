// One WebSocket connection that keeps itself alive, comes back as the close
// codes of protocol section 1.5 say, and subscribes again.
import { Frames } from './frames.js';

const pongTimeout = 30_000;
const longestDelay = 15_000;

// What a client does after a close: whether it comes back, and whether it waits.
export function reaction(code) {
  if (code >= 4000 && code < 4100) return { retry: false };
  if (code >= 4100 && code < 4200) return { retry: true, wait: true };
  if (code >= 4200 && code < 4300) return { retry: true, wait: false };
  if (code >= 4300) return { retry: false };
  return { retry: true, wait: true };
}

// delay is the time to wait before the attempt-th try in a row, in ms.
export function delay(attempt, wait, random = Math.random()) {
  if (attempt === 0 && !wait) return 0;
  return Math.min(longestDelay, 1000 * 2 ** attempt) * (0.8 + 0.4 * random);
}

// Callbacks of `on`: state(name, detail), event(event), subscribed(channel),
// refused(channel, reason), problem(sentence).
export class Connection {
  #url;
  #on;
  #frames = new Frames();
  #channels = new Set();
  #socket = null;
  #attempt = 0;
  #timers = new Set();
  #lastHeard = 0;
  #activity = 120_000;
  #stopped = false;
  #delta;
  // The error event that precedes a close says more than the code alone.
  #lastError = '';

  constructor(url, { delta, on }) {
    this.#url = url;
    this.#delta = delta;
    this.#on = on;
  }

  open() {
    this.#stopped = false;
    this.#frames.forget();
    this.#lastError = '';
    this.#on.state('connecting');
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
  }

  // Starts over, for example with another setting of delta.
  restart({ delta }) {
    this.#delta = delta;
    this.close();
    this.#attempt = 0;
    this.open();
  }

  close() {
    this.#stopped = true;
    this.#clearTimers();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  subscribe(channel) {
    this.#channels.add(channel);
    this.#send('pusher:subscribe', { auth: '', channel });
  }

  unsubscribe(channel) {
    this.#channels.delete(channel);
    this.#frames.forget(channel);
    this.#send('pusher:unsubscribe', { channel });
  }

  #send(event, data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ event, data }));
  }

  #receive(socket, text) {
    if (socket !== this.#socket) return;
    this.#lastHeard = Date.now();
    let frame;
    try {
      frame = this.#frames.read(text);
    } catch (err) {
      if (err.channel !== undefined) this.#send('pusher:delta_sync_error', { channel: err.channel });
      this.#on.problem(err.channel === undefined ? `A frame could not be read: ${err.message}` : `A delta on ${err.channel} could not be decoded: ${err.message}. Asked for a full message.`);
      return;
    }
    if (!frame.control) {
      // What was still on its way after unsubscribing is of no interest.
      if (this.#channels.has(frame.channel)) this.#on.event(frame);
      return;
    }
    switch (frame.event) {
      case 'pusher:connection_established':
        this.#established(frame.data);
        break;
      case 'pusher:ping':
        this.#send('pusher:pong', {});
        break;
      case 'pusher:error':
        this.#lastError = frame.data.message ?? '';
        this.#on.problem(`The server says: ${this.#lastError}`);
        break;
      case 'pusher_internal:subscription_succeeded':
        this.#on.subscribed(frame.channel);
        break;
      case 'pusher:subscription_error':
        this.#channels.delete(frame.channel);
        this.#on.refused(frame.channel, frame.data.error ?? 'refused');
        break;
    }
  }

  #established({ socket_id, activity_timeout }) {
    this.#attempt = 0;
    this.#activity = (activity_timeout || 120) * 1000;
    this.#on.state('connected', socket_id);
    if (this.#delta) this.#send('pusher:enable_delta_compression', { algorithms: ['fossil'] });
    for (const channel of this.#channels) this.#send('pusher:subscribe', { auth: '', channel });
    this.#watch(this.#activity);
  }

  // Asks a silent server for a sign of life, and leaves if there is none.
  #watch(after) {
    this.#later(after, () => {
      const silent = Date.now() - this.#lastHeard;
      if (silent < this.#activity) return this.#watch(this.#activity - silent);
      const asked = this.#lastHeard;
      this.#send('pusher:ping', {});
      this.#later(pongTimeout, () => {
        if (this.#lastHeard !== asked) this.#watch(this.#activity);
        else if (this.#socket) this.#closed(this.#socket, 4201, 'no answer from the server');
      });
    });
  }

  #closed(socket, code, reason) {
    if (socket !== this.#socket || this.#stopped) return;
    this.#socket = null;
    this.#clearTimers();
    socket.close();
    const { retry, wait } = reaction(code);
    const why = reason || this.#lastError || (code === 1006 ? 'the connection was lost' : `closed with ${code}`);
    if (!retry) return this.#on.state('stopped', why);
    const ms = delay(this.#attempt++, wait);
    this.#on.state('waiting', why);
    this.#later(ms, () => this.open());
  }

  #later(ms, f) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      f();
    }, ms);
    this.#timers.add(timer);
  }

  #clearTimers() {
    for (const t of this.#timers) clearTimeout(t);
    this.#timers.clear();
  }
}
