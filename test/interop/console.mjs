// Goes through the console in Chromium as an operator would, and prints what it shows, one JSON
// object per step. A step that fails ends it. Arguments: address token channel member picture.
// Then lines on its input say that the server is stuck, that it is gone, and that it is back.
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';
import readline from 'node:readline';

const [url, token, channel, picture] = process.argv.slice(2);
const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({
  executablePath, timeout: 120_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (step, what = {}) => console.log(JSON.stringify({ step, ...what }));
const patience = { timeout: 120_000 };
const problems = [];

// The contrast of two colours, as WCAG has it.
const contrast = (page) => page.evaluate(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\d.]+/g).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const c = getComputedStyle(at).backgroundColor;
      if (c !== 'rgba(0, 0, 0, 0)') return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const fields = [...document.querySelectorAll('input:not([type=checkbox], [type=range]), select, textarea')].filter((e) => e.offsetParent);
  const texts = [...document.querySelectorAll('p, span, td, th, h1, h2, dd, dt, a, button, label, strong')].filter((e) => e.offsetParent && e.textContent.trim() && !e.closest('.hidden') && !e.disabled);
  return {
    fields: fields.length, border: Math.min(...fields.map((e) => ratio(getComputedStyle(e).borderTopColor, behind(e.parentElement)))),
    text: Math.min(...texts.map((e) => ratio(getComputedStyle(e).color, behind(e)))),
  };
});

const operator = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await operator.newPage();
page.setDefaultTimeout(120_000);

// Whether what has the focus keeps it when the rows around it are drawn again.
const keepsFocus = async (selector, rows) => {
  await page.waitForSelector(selector, patience);
  await page.locator(selector).first().focus();
  await page.evaluate((rows) => {
    for (const row of document.querySelectorAll(rows)) row.setAttribute('data-before', '');
    dispatchEvent(new HashChangeEvent('hashchange'));
  }, rows);
  await page.waitForFunction((rows) => !document.querySelector(`${rows}[data-before]`), rows, patience);
  return page.evaluate((selector) => document.activeElement.matches(selector), selector);
};
try {
  page.on('pageerror', (err) => problems.push(String(err)));
  page.on('dialog', (d) => { problems.push(`dialog: ${d.message()}`); d.dismiss(); });
  page.on('request', (r) => { if (!r.url().startsWith(url)) problems.push(`asked ${r.url()}`); });
  await page.goto(url);
  await page.waitForSelector('#login:not([hidden])', patience);
  await page.fill('#token', 'wrong');
  await page.press('#token', 'Enter');
  await page.waitForFunction(() => document.querySelector('#login-wrong').textContent !== '', null, patience);
  // A browser that keeps no cookies.
  await page.route('**/api/login', (route) => route.fulfill({ json: {} }));
  await page.press('#token', 'Enter');
  await page.waitForFunction(() => document.querySelector('#login-wrong').textContent.includes('cookie'), null, patience);
  await page.unroute('**/api/login');
  await page.fill('#token', token);
  await page.press('#token', 'Enter');
  await page.waitForSelector('#view-overview:not([hidden])', patience);
  await page.waitForFunction(() => /^[1-9]/.test(document.querySelector('#tiles strong').textContent), null, patience);
  const cookies = await page.evaluate(() => document.cookie);
  say('overview', { tiles: await page.locator('#tiles li').count(), cookies, overflow: await page.evaluate(() => document.documentElement.scrollWidth - innerWidth) });

  const keeps = { overview: await keepsFocus('#busiest a', '#busiest > li') };
  await page.goto(`${url}console/#/constructor`);
  await page.waitForSelector('#view-overview:not([hidden])', patience);

  // By keyboard: the link, the search, the list.
  await page.click('#nav a[href="#/channels"]');
  await page.waitForSelector('#channels-list .line:not([hidden])', patience);
  const lines0 = await page.locator('#channels-list .line:not([hidden])').count();
  await page.focus('#channels-search');
  await page.keyboard.type(channel);
  await page.waitForFunction(() => document.querySelector('#channels-count').textContent.startsWith('1 of'), null, patience);
  await page.keyboard.press('Enter');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForFunction((name) => document.querySelector('#channel h2')?.textContent === name, channel, patience);
  say('channel', { drawn: lines0 });
  await page.waitForSelector('#panel-live .event', patience);
  await page.locator('#panel-live .event > button').first().dispatchEvent('click');
  // What is long is read from the log when it is opened.
  await page.waitForSelector('#panel-live .more pre:not([aria-busy])', patience);
  const live = await page.evaluate(() => document.querySelector('#panel-live').innerText);
  await page.click('#tab-history');
  await page.waitForSelector('#panel-history .event', patience);
  const stored = await page.locator('#panel-history .event').count();
  await page.selectOption('#panel-history select', '0');
  await page.click('#panel-history .primary');
  await page.waitForFunction((n) => document.querySelectorAll('#panel-history .event').length >= n, stored, patience);
  await page.click('#tab-members');
  await page.waitForSelector('#panel-members td', patience);
  const members = await page.evaluate(() => document.querySelector('#panel-members tbody').innerText);
  await page.click('#tab-publishers');
  await page.waitForSelector('#panel-publishers td', patience);
  say('events', { live, members, stored });
  if (picture) await page.screenshot({ path: picture });

  await page.goto(`${url}console/#/channels?${new URLSearchParams({ app: 'app-id', channel: '<img src=x onerror="window.pwned=1">' })}`);
  await page.waitForFunction(() => document.querySelector('#channel h2')?.textContent.startsWith('<img'), null, patience);
  await page.click('#nav a[href="#/connections"]');
  await page.waitForSelector('#connections-list .line:not([hidden])', patience);
  await page.locator('#connections-list .line').first().click();
  await page.click('#connection button.danger');
  await page.fill('#confirm input', '<b>bye</b>');
  await page.click('#confirm button[type=submit]');
  await page.waitForSelector('#notice-box:not([hidden])', patience);
  await page.click('#nav a[href="#/cluster"]');
  await page.waitForSelector('#cluster td', patience);
  say('hostile', {
    pwned: await page.evaluate(() => window.pwned ?? 0), images: await page.locator('main img, main script, main iframe, main svg[onload]').count(),
  });

  // What is drawn again keeps the focus; on a phone it follows what is shown. A channel that cannot
  // be followed is told of where its events would be.
  keeps.cluster = await keepsFocus('#cluster .table', '#cluster > section');
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${url}console/#/channels`);
  await page.locator('#channels-list .line:not([hidden])').first().click();
  await page.waitForSelector('#channel .back', patience);
  keeps.opened = await page.evaluate(() => document.activeElement.id);
  await page.click('#channel .back');
  await page.waitForSelector('#channels-list:not([hidden])', patience);
  keeps.closed = await page.evaluate(() => document.activeElement.id);
  await page.goto(`${url}console/#/channels?app=none&channel=c`);
  await page.waitForFunction(() => /no app/.test(`${document.querySelector('#panel-live .empty')?.textContent} ${document.querySelector('#lost-text').textContent}`), null, patience);
  say('keeps', { ...keeps, text: await page.textContent('#panel-live .empty'), retry: await page.isVisible('#retry') });

  // Contrast, in both schemes, in each view; and nothing is wider than a phone.
  const worst = { border: 99, text: 99, fields: 0, wide: 0 };
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 390]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 844 });
      for (const view of ['overview', 'channels', `channels?${new URLSearchParams({ app: 'app-id', channel })}`, 'connections', 'cluster']) {
        await page.goto(`${url}console/#/${view}`);
        await page.waitForFunction(() => document.body.dataset.state === 'connected', null, patience);
        const got = await contrast(page);
        if (got.fields) worst.border = Math.min(worst.border, got.border);
        worst.text = Math.min(worst.text, got.text);
        worst.fields += got.fields;
        worst.wide = Math.max(worst.wide, await page.evaluate(() => document.documentElement.scrollWidth - innerWidth));
      }
    }
  }
  // A server that is stuck takes connections and says nothing.
  const stuck = await operator.newPage();
  stuck.setDefaultTimeout(120_000);
  await stuck.clock.install();
  await stuck.goto(`${url}console/#/overview`);
  await stuck.waitForFunction(() => document.body.dataset.state === 'connected', null, patience);
  say('contrast', worst);
  await lines.next();
  await stuck.clock.fastForward(15_000);
  await stuck.waitForSelector('#lost:not([hidden])', patience);
  say('stuck', { text: await stuck.innerText('#lost-text') });
  await stuck.close();
  await page.goto(`${url}console/#/channels?${new URLSearchParams({ app: 'app-id', channel })}`);
  await page.click('#tab-live');

  await lines.next();
  await page.waitForSelector('#lost:not([hidden])', patience);
  say('lost', { text: await page.textContent('#lost-text'), retry: await page.isVisible('#retry'), stale: await page.getAttribute('#main', 'data-stale') });
  await lines.next();
  await page.waitForSelector('#login:not([hidden])', patience);
  await page.fill('#token', token);
  await page.press('#token', 'Enter');
  await page.waitForFunction(() => document.body.dataset.state === 'connected' && document.querySelector('#lost').hidden, null, patience);
  const gap = await page.textContent('#panel-live output');
  await page.click('#logout');
  await page.waitForSelector('#login:not([hidden])', patience);
  say('end', { problems, text: gap, live: await page.textContent('#channel') });
} catch (err) {
  const shows = await page.evaluate(() => `${document.body.dataset.state} ${document.activeElement.id} ${document.body.innerText.slice(0, 600)}`).catch(String);
  say('failed', { text: `${err.stack}\n${shows}`, problems });
} finally {
  await browser.close();
  process.exit(0);
}
