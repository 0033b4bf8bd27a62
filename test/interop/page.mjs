// Opens the console page in Chromium, waits until it shows events and deltas,
// takes a screenshot and prints what the page shows. Arguments: URL picture.
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';

const [url, picture] = process.argv.slice(2);
const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({
  executablePath, timeout: 120_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const problems = [];
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(120_000);
  page.on('pageerror', (err) => problems.push(String(err)));
  page.on('console', (m) => { if (m.type() === 'error') problems.push(m.text()); });
  await page.goto(url);
  const number = async (selector) => Number((await page.textContent(selector)).replace(/[^0-9]/g, '') || 0);
  const badges = () => page.locator('#events li[data-form="delta"], #events .delta').count();
  await page.waitForFunction(() => Number(document.querySelector('#total-events').textContent.replace(/[^0-9]/g, '')) >= 20, null, { timeout: 120_000 });
  await page.waitForFunction(() => /[1-9]\d*\s+delta/.test(document.querySelector('#total-forms').textContent), null, { timeout: 120_000 });
  await page.screenshot({ path: picture });
  const forms = await page.textContent('#total-forms');
  console.log(JSON.stringify({
    events: await number('#total-events'),
    deltas: Number(/(\d+)\s+delta/.exec(forms)?.[1] ?? 0),
    saved: await page.textContent('#total-percent'),
    badges: await badges(),
    problems,
  }));
} catch (err) {
  console.log(JSON.stringify({ events: 0, deltas: 0, saved: '', problems: [...problems, String(err)] }));
} finally {
  await browser.close();
}
