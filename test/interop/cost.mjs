// Opens many sockets to a server and the console in Chromium, and prints what the console costs
// the server's process: its processor time with and without a page, view by view.
// Arguments: address pid sockets channels.
import { chromium } from 'playwright-core';
import { existsSync, readFileSync } from 'node:fs';
import WebSocket from 'ws';

const [address, pid, sockets, channels] = process.argv.slice(2);
const each = Math.ceil(Number(channels) / Number(sockets));
const seconds = 15;
const ticks = 100; // of the kernel, per second

const used = () => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticks;
};
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function connect(i) {
  return new Promise((done, fail) => {
    const ws = new WebSocket(`ws://${address}/app/app-key?protocol=7&client=cost`, { perMessageDeflate: false });
    let left = each;
    ws.on('error', fail);
    ws.on('message', (text) => {
      const { event } = JSON.parse(text);
      if (event === 'pusher:connection_established') {
        for (let k = 0; k < each; k++) ws.send(JSON.stringify({ event: 'pusher:subscribe', data: { channel: `room-${String(i * each + k).padStart(6, '0')}` } }));
      } else if (event === 'pusher_internal:subscription_succeeded' && --left === 0) done();
      else if (event === 'pusher:error') fail(new Error(String(text)));
    });
  });
}
for (let i = 0; i < Number(sockets); i += 50) await Promise.all(Array.from({ length: Math.min(50, Number(sockets) - i) }, (_, k) => connect(i + k)));

// A little traffic, so that there is something to see: 100 events a second.
let n = 0;
const traffic = setInterval(() => {
  const list = Array.from({ length: 10 }, () => ({ name: 'note', channel: `room-${String((n++ * 7919) % (each * Number(sockets))).padStart(6, '0')}`, data: `{"n":${n}}` }));
  fetch(`http://${address}/apps/app-id/batch_events`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ batch: list }) }).catch(() => {});
}, 100);

async function measure() {
  const from = used();
  const began = performance.now();
  await pause(seconds * 1000);
  return 100 * (used() - from) / ((performance.now() - began) / 1000);
}

const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
await pause(5000);
const closed = [await measure()];
const browser = await chromium.launch({ executablePath, timeout: 120_000, args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
const rows = [];
const views = [['overview', '#view-overview li strong'], ['channels', '#channels-list .line:not([hidden])'], ['channels?app=app-id&channel=room-000001', '#channel h2'], ['connections', '#connections-list .line:not([hidden])'], ['cluster', '#cluster td']];
for (const [view, ready] of views) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const began = performance.now();
  await page.goto(`http://${address}/console/#/${view}`);
  await page.waitForSelector(ready, { state: 'attached', timeout: 120_000 });
  const filled = performance.now() - began;
  const paint = await page.evaluate(async () => {
    const get = () => performance.getEntriesByName('first-contentful-paint')[0];
    while (!get()) await new Promise((done) => setTimeout(done, 20));
    return get().startTime;
  });
  rows.push({ view: view.split('?')[1] ? 'one channel' : view, paint, filled, open: await measure() });
  await page.close();
  await pause(2000);
  closed.push(await measure());
}
await browser.close();
clearInterval(traffic);
const base = closed.reduce((a, b) => a + b) / closed.length;
console.log(`${sockets} sockets, ${each * Number(sockets)} channels, 100 events/s; processor time of the server in per cent of one processor, ${seconds} s each`);
console.log(`closed: ${closed.map((c) => c.toFixed(1)).join(' ')}, mean ${base.toFixed(1)}\n`);
console.log('| View | First paint | Rows there | Open | Cost |\n| --- | --- | --- | --- | --- |');
for (const [i, r] of rows.entries()) {
  const around = (closed[i] + closed[i + 1]) / 2;
  console.log(`| ${r.view} | ${r.paint.toFixed(0)} ms | ${r.filled.toFixed(0)} ms | ${r.open.toFixed(1)} % | ${(r.open - around).toFixed(1)} % |`);
}
process.exit(0);
