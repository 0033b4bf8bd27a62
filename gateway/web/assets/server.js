// What the console asks the server, and the one stream of what happens there.

export class Refused extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

// A server that is stuck takes connections and says nothing. Its own patience with the log is 10 s.
const answerWithin = 20_000;

async function call(path, options) {
  let response;
  let body = {};
  try {
    response = await fetch(`api/${path}`, { cache: 'no-store', credentials: 'same-origin', redirect: 'error', signal: AbortSignal.timeout(answerWithin), ...options });
    body = await response.json().catch((err) => {
      if (response.ok) throw err;
      return {}; // what is no JSON still has a status
    });
  } catch (err) {
    // Browsers open six connections to a server without TLS, for all pages together, and each page of
    // the console holds one.
    const late = err.name === 'TimeoutError';
    throw new Refused(0, late ? 'late' : 'unreachable', `the server does not answer${late ? '; if this browser has many pages of the console open, close some' : ''}`);
  }
  if (response.ok) return body;
  throw new Refused(response.status, body.code ?? '', body.error ?? `the server answered ${response.status}`);
}

// sentence says why nothing can be seen.
export const sentence = ({ status, message }) => status === 0 ? `No connection to the server: ${message}.` : `The server does not show what happens: ${message}.`;

// ask reads something.
export function ask(path, query = {}) {
  const params = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined && v !== ''));
  return call(params.size ? `${path}?${params}` : path);
}

// tell changes something.
export const tell = (path, body = {}) => call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

const longest = 15_000;
const longestSilence = 10_000;

// The event stream. It comes back by itself, with longer and longer pauses. on has state(name,
// sentence, wait), totals(t), live(group), and refused(why) for a channel that cannot be followed;
// the states are connected, lost and login.
export class Stream {
  #on;
  #place = null; // the channel that is looked at
  #refused = false; // it cannot be followed
  #wanted = false;
  #source = null;
  #timer = 0;
  #delay = 1000;
  #heard = 0;
  #beat = 0;
  #turn = 0; // what is found out about an earlier one is of no interest

  constructor(on) {
    this.#on = on;
  }

  // look chooses the channel whose events are shown, null for none.
  look(place) {
    if (place?.app === this.#place?.app && place?.channel === this.#place?.channel) return;
    this.#place = place;
    this.#refused = false;
    if (this.#wanted) this.open();
  }

  open() {
    this.#end();
    this.#wanted = true;
    const source = new EventSource(this.#address());
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
    source.addEventListener('end', () => this.#lost(new Refused(0, '', 'the server ended the stream')));
    source.onerror = () => this.#failed(source);
    // Totals come every second. Without them the connection is dead, whatever the browser thinks.
    this.#heard = Date.now();
    this.#beat = setInterval(() => {
      if (Date.now() - this.#heard > longestSilence) this.#lost(new Refused(0, '', 'nothing has come from it for ten seconds'));
    }, 2000);
  }

  close() {
    this.#wanted = false;
    this.#end();
  }

  #end() {
    this.#turn++;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#source?.close();
    this.#source = null;
  }

  #address() { return this.#place && !this.#refused ? `api/events?${new URLSearchParams(this.#place)}` : 'api/events'; }

  // The browser does not say why a stream failed, so the server is asked.
  async #failed(source) {
    if (source !== this.#source) return;
    this.#end();
    const turn = this.#turn;
    const why = await this.#why();
    if (turn !== this.#turn) return;
    if (why.status === 401) this.#on.state('login');
    else if (why.status >= 400 && why.status < 500 && this.#place && !this.#refused) {
      // A channel that cannot be followed must not keep everything else from being seen.
      this.#refused = true;
      this.#on.refused(why.message);
      this.open();
    } else this.#lost(why);
  }

  async #why() {
    try {
      await ask('session');
      const response = await fetch(this.#address(), { cache: 'no-store', signal: AbortSignal.timeout(answerWithin) });
      if (!response.ok) return new Refused(response.status, '', (await response.json()).error);
      response.body.cancel();
    } catch (err) {
      if (err instanceof Refused) return err;
    }
    return new Refused(0, '', 'the stream ended');
  }

  #lost(why) {
    this.#end();
    this.#refused = false;
    const wait = this.#delay;
    this.#delay = Math.min(longest, this.#delay * 2);
    this.#on.state('lost', sentence(why), wait);
    this.#timer = setTimeout(() => this.open(), wait);
  }
}
