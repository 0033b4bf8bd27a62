// What the console asks the server, and the one stream of what happens there.

export class Refused extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, { cache: 'no-store', credentials: 'same-origin', redirect: 'error', ...options });
  } catch {
    throw new Refused(0, 'unreachable', 'the server does not answer');
  }
  let body = {};
  try {
    body = await response.json();
  } catch { /* what is no JSON still has a status */ }
  if (response.ok) return body;
  throw new Refused(response.status, body.code ?? '', body.error ?? `the server answered ${response.status}`);
}

// ask reads something.
export function ask(path, query = {}) {
  const params = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined && v !== ''));
  return call(params.size ? `${path}?${params}` : path);
}

// tell changes something.
export const tell = (path, body = {}) => call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

const longest = 15_000;

// The event stream. It comes back by itself, with longer and longer pauses. on has state(name,
// detail), totals(t) and live(group); the states are connecting, connected, lost and login.
export class Stream {
  #on;
  #place = null; // the channel that is looked at
  #source = null;
  #timer = 0;
  #delay = 1000;
  #heard = 0;
  #beat = 0;

  constructor(on) {
    this.#on = on;
  }

  // look chooses the channel whose events are shown, null for none.
  look(place) {
    if (place?.app === this.#place?.app && place?.channel === this.#place?.channel) return;
    this.#place = place;
    if (this.#source) this.open();
  }

  open() {
    this.close();
    const query = this.#place ? `?${new URLSearchParams(this.#place)}` : '';
    const source = new EventSource(`api/events${query}`);
    this.#source = source;
    source.addEventListener('totals', ({ data }) => {
      this.#heard = Date.now();
      this.#delay = 1000;
      this.#on.state('connected');
      this.#on.totals(JSON.parse(data));
    });
    source.addEventListener('live', ({ data }) => {
      if (this.#source === source) this.#on.live(JSON.parse(data));
    });
    source.addEventListener('end', () => this.#lost('the server ended the stream'));
    source.onerror = () => this.#failed(source);
    // Totals come every second. Without them the connection is dead, whatever the browser thinks.
    this.#heard = Date.now();
    this.#beat = setInterval(() => {
      if (Date.now() - this.#heard > 10_000) this.#failed(source);
    }, 2000);
  }

  close() {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#source?.close();
    this.#source = null;
  }

  // The browser does not say why a stream failed, so the server is asked.
  async #failed(source) {
    if (source !== this.#source) return;
    this.close();
    try {
      await ask('session');
      this.#lost(this.#place ? await this.#why() : 'the stream ended');
    } catch (err) {
      if (err.status === 401) this.#on.state('login');
      else this.#lost(err.message);
    }
  }

  // A channel that cannot be followed must not keep everything else from being seen.
  async #why() {
    const response = await fetch(`api/events?${new URLSearchParams(this.#place)}`, { cache: 'no-store' }).catch(() => null);
    if (!response || response.ok) {
      response?.body?.cancel();
      return 'the stream ended';
    }
    const body = await response.json().catch(() => ({}));
    return body.error ?? `the server answered ${response.status}`;
  }

  #lost(why) {
    this.close();
    const wait = this.#delay;
    this.#delay = Math.min(longest, this.#delay * 2);
    this.#on.state('lost', why, wait);
    this.#timer = setTimeout(() => this.open(), wait);
  }
}
