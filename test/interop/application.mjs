// The server of an application: authorizes with the official SDK, publishes, takes
// webhooks. Runs the scenario in Node or in Chromium and prints what was seen, then what
// the SDK read from the HTTP API and which webhooks it found valid.
// Arguments: where (node or browser) host port own-port.
import http from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Server from 'pusher';
import { scenario } from './scenario.mjs';

const [where, host, port, ownPort] = process.argv.slice(2);
const server = new Server({
  appId: 'app-id', key: 'app-key', secret: 'app-secret', host, port, useTLS: false,
  encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64'),
});
const hooks = [];
const assets = {
  '/pusher.js': ['text/javascript', 'node_modules/pusher-js/dist/web/pusher-with-encryption.js'],
  '/echo.js': ['text/javascript', 'node_modules/laravel-echo/dist/echo.js'],
  '/scenario.mjs': ['text/javascript', 'scenario.mjs'],
};

async function answer(req, url, body) {
  const form = new URLSearchParams(body);
  const user = form.get('user');
  switch (url.pathname) {
    case '/auth': {
      const channel = form.get('channel_name');
      if (channel === 'private-denied') return { auth: 'app-key:0000' };
      const member = channel.startsWith('presence-') ? { user_id: user, user_info: { name: `N ${user}` } } : undefined;
      return server.authorizeChannel(form.get('socket_id'), channel, member);
    }
    case '/user':
      return server.authenticateUser(form.get('socket_id'), { id: user, watchlist: ['u1', 'u2'].filter((u) => u !== user) });
    case '/publish':
      await server.trigger(url.searchParams.get('channel'), url.searchParams.get('event') ?? 'note', { text: url.searchParams.get('data') });
      return {};
    case '/tell':
      await server.sendToUser(url.searchParams.get('user'), 'note', { hello: url.searchParams.get('user') });
      return {};
    case '/terminate':
      await server.terminateUserConnections(url.searchParams.get('user'));
      return {};
    case '/hook': {
      const hook = server.webhook({ headers: req.headers, rawBody: body });
      for (const e of hook.isValid() ? hook.getEvents() : [{ name: 'invalid' }]) hooks.push(e);
      return {};
    }
  }
  return undefined;
}

const own = http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://x');
  let body = '';
  for await (const part of req) body += part;
  if (assets[url.pathname]) {
    res.setHeader('Content-Type', assets[url.pathname][0]);
    return res.end(readFileSync(new URL(assets[url.pathname][1], import.meta.url)));
  }
  if (url.pathname === '/') {
    res.setHeader('Content-Type', 'text/html');
    return res.end('<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script src="/pusher.js"></script>');
  }
  try {
    const out = await answer(req, url, body);
    res.statusCode = out === undefined ? 404 : 200;
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify(out ?? {}));
  } catch (err) {
    res.statusCode = 500;
    res.end(String(err));
  }
});
await new Promise((done) => own.listen(Number(ownPort), '127.0.0.1', done));
const origin = `http://127.0.0.1:${ownPort}`;

async function inNode() {
  const require = createRequire(import.meta.url);
  const Pusher = require('pusher-js');
  const { default: Echo } = await import('laravel-echo');
  const ask = async (path) => { if (!(await fetch(origin + path)).ok) throw new Error(path); };
  return scenario({ Pusher: Pusher.default ?? Pusher, Echo, host, port: Number(port), origin, ask });
}

async function inBrowser() {
  const { chromium } = await import('playwright-core');
  const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
  const browser = await chromium.launch({
    executablePath, timeout: 120_000,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    page.on('pageerror', (err) => process.stderr.write(`page: ${err}\n`));
    await page.goto(origin);
    return await page.evaluate(async ([host, port]) => {
      const [{ scenario }, { default: Echo }] = await Promise.all([import('/scenario.mjs'), import('/echo.js')]);
      const ask = async (path) => { if (!(await fetch(path)).ok) throw new Error(path); };
      return scenario({ Pusher: window.Pusher, Echo, host, port, origin: location.origin, ask });
    }, [host, Number(port)]);
  } finally {
    await browser.close();
  }
}

const seen = where === 'node' ? await inNode() : await inBrowser();
process.stdout.write(JSON.stringify(seen) + '\n');

// The SDK's own requests.
const { default: Pusher } = { default: createRequire(import.meta.url)('pusher-js') };
const p = new Pusher('app-key', {
  wsHost: host, wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'], cluster: 'none',
  channelAuthorization: { customHandler: ({ socketId, channelName }, done) => done(null, server.authorizeChannel(socketId, channelName, { user_id: 7 })) },
});
await new Promise((done) => p.subscribe('presence-query').bind('pusher:subscription_succeeded', done));
const get = async (path, params) => (await server.get({ path, params })).json();
let one;
do one = await get('/channels/presence-query', { info: 'user_count,subscription_count' }); while (!one.occupied);
const batch = await server.triggerBatch([{ channel: 'plain', name: 'e', data: { n: 1 } }, { channel: 'presence-query', name: 'e', data: '2', info: 'user_count' }]);
process.stdout.write(JSON.stringify({
  one, users: (await get('/channels/presence-query/users')).users,
  listed: Object.keys((await get('/channels', { filter_by_prefix: 'presence-q' })).channels), batch: (await batch.json()).batch,
}) + '\n');
p.disconnect();

const wanted = ['channel_occupied', 'channel_vacated', 'member_added', 'member_removed', 'client_event', 'subscription_count'];
while (!wanted.every((name) => hooks.some((e) => e.name === name))) await new Promise((done) => setTimeout(done, 20));
process.stdout.write(JSON.stringify({ hooks: [...new Set(hooks.map((e) => e.name))].sort() }) + '\n');
process.exit(0);
