// Tries the page of development mode with forty channels, and with a server that goes away.
// Prints what it shows, one JSON object per step. Argument: URL. Lines on the input say that the
// server is gone, and that it is back.
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';
import readline from 'node:readline';

const [url] = process.argv.slice(2);
const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({
  executablePath, timeout: 120_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (step, what = {}) => console.log(JSON.stringify({ step, ...what }));
const patience = { timeout: 120_000 };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(120_000);
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector('#status').dataset.state === 'connected', null, patience);
  for (let i = 0; i < 40; i++) {
    await page.fill('#subscribe-channel', `channel-with-a-long-name-${i}`);
    await page.press('#subscribe-channel', 'Enter');
  }
  await page.waitForFunction(() => document.querySelectorAll('#channels li[data-state=connected]').length === 42, null, patience);
  await page.fill('#publish-channel', 'channel-with-a-long-name-39');
  await page.fill('#publish-data', JSON.stringify({ text: 'x'.repeat(500) }));
  await page.click('#publish button[type=submit]');
  await page.waitForSelector('#events .row', patience);
  say('many', await page.evaluate(() => ({
    publish: Math.round(document.querySelector('#publish button').getBoundingClientRect().bottom), data: Math.round(document.querySelector('#events .data').getBoundingClientRect().width),
    count: document.querySelector('#channels-count').textContent, console: document.querySelector('#nav-console').hidden ? 0 : document.querySelectorAll('#nav-console a').length,
  })));
  await page.locator('#events .row').first().click();
  const whole = (await page.textContent('#events .detail pre')).length;
  await lines.next();
  await page.waitForSelector('#lost:not([hidden])', patience);
  say('lost', { text: await page.textContent('#lost-text'), whole });
  await lines.next();
  // Not by a click of the mouse: it may be back already, and the button gone.
  await page.locator('#retry').dispatchEvent('click');
  await page.waitForFunction(() => document.querySelector('#lost').hidden && document.querySelectorAll('#channels li[data-state=connected]').length === 42, null, patience);
  say('back');
} catch (err) {
  say('failed', { text: String(err) });
} finally {
  await browser.close();
  process.exit(0);
}
