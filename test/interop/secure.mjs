// Opens the console page of a server with TLS in Chromium, which speaks HTTP/2 with it, and connects
// from that page with pusher-js and with an EventSource, so that WebSockets and streams are asked
// for beside a connection of HTTP/2 that is there. Prints a line when it is connected, and one with
// what came. Arguments: URL host port.
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';

const [url, host, port] = process.argv.slice(2);
const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({
  executablePath, timeout: 120_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(url + '/');
  const shown = await page.title();
  await page.goto(url + '/health');
  const hop = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  await page.addScriptTag({ path: 'node_modules/pusher-js/dist/web/pusher.min.js' });
  await page.evaluate(({ host, port }) => {
    window.got = { pusher: [], source: [], states: [] };
    window.pusher = new Pusher('app-key', {
      wsHost: host, wsPort: port, wssPort: port, forceTLS: true, enabledTransports: ['ws', 'wss'], cluster: 'none', disableStats: true,
    });
    window.pusher.connection.bind('state_change', (s) => window.got.states.push(s.current));
    window.pusher.subscribe('lobby').bind('message', (d) => window.got.pusher.push(d));
    const source = new EventSource('/app/app-key/events?channel=lobby');
    source.addEventListener('subscribed', () => { window.streaming = true; });
    source.onmessage = (e) => window.got.source.push(JSON.parse(JSON.parse(e.data).data));
  }, { host, port: Number(port) });
  await page.waitForFunction(() => window.streaming && window.pusher.channel('lobby').subscribed, null, { timeout: 120_000 });
  console.log(JSON.stringify({ connected: true, hop, shown }));
  await page.waitForFunction(() => window.got.pusher.length > 0 && window.got.source.length > 0, null, { timeout: 120_000 });
  const frames = await page.evaluate(() => performance.getEntriesByType('resource').map((r) => r.nextHopProtocol));
  console.log(JSON.stringify({ got: await page.evaluate(() => window.got), frames }));
} catch (err) {
  console.log(JSON.stringify({ problem: String(err) }));
} finally {
  await browser.close();
}
