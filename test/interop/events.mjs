// Opens an event stream in Chromium with its own EventSource, and prints what it dispatches, one
// JSON object per line, until its standard input ends. Arguments: page query type...
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';

const [page, query, ...types] = process.argv.slice(2);
const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({
  executablePath, timeout: 120_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
process.stdin.on('end', () => browser.close().finally(() => process.exit(0))).resume();
const tab = await browser.newPage();
tab.setDefaultTimeout(120_000);
await tab.exposeFunction('say', (text) => console.log(text));
await tab.goto(page);
await tab.evaluate(({ query, types }) => {
  const source = new EventSource(query);
  for (const type of ['message', 'subscribed', 'gap', 'resumed', 'reconnect', ...types]) {
    source.addEventListener(type, (e) => window.say(JSON.stringify({ type, data: JSON.parse(e.data), id: e.lastEventId })));
  }
  source.onerror = (e) => window.say(JSON.stringify({ type: 'error', text: e.data ?? '', closed: source.readyState === EventSource.CLOSED }));
}, { query, types });
