// The commands that the page suggests.
import { element } from './dom.js';
import { quoted } from './format.js';

const payload = '{"hello":"world"}';

// What to type in a shell so that something appears on this page.
export function commands(config, origin) {
  const elsewhere = new URL(origin).port === '6001' ? '' : ` --url ${origin}`;
  const list = [
    ['Live telemetry of this machine', `sluice demo${elsewhere}`],
    ['One event over HTTP', `curl -H 'Content-Type: application/json' -d '${JSON.stringify({ name: 'greeting', channel: config.example, data: payload })}' ${origin}/apps/${encodeURIComponent(config.appId)}/events`],
  ];
  if (config.subject) {
    const server = config.natsURL ? `-s ${quoted(config.natsURL)} ` : '';
    list.push(['One event straight into the log', `nats ${server}pub ${quoted(config.subject)} '${payload}' -H Event:greeting`]);
  }
  return list;
}

export function commandList(list) {
  return list.map(([what, line]) => {
    const copy = element('button', { type: 'button', class: 'link', 'aria-label': `Copy: ${what}` }, 'Copy');
    copy.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(line);
        copy.textContent = 'Copied';
      } catch {
        copy.textContent = 'Select and copy';
      }
      setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
    });
    return element('div', { class: 'command' }, element('p', {}, element('span', {}, what), copy), element('pre', {}, element('code', {}, line)));
  });
}
