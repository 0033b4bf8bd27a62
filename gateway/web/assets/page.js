// Puts together the page on which one tries a server out.
import { Channels } from './channels.js';
import { commandList, commands } from './commands.js';
import { Connection } from './connection.js';
import { byID, setText } from './dom.js';
import { History } from './history.js';
import { Live } from './live.js';
import { publishForm } from './publish.js';
import { Totals } from './totals.js';

const config = JSON.parse(byID('config').textContent);
const root = new URL('.', document.baseURI);
const base = new URL(`apps/${encodeURIComponent(config.appId)}`, root).href;

const socketURL = new URL(`app/${encodeURIComponent(config.appKey)}`, root);
socketURL.protocol = root.protocol === 'https:' ? 'wss:' : 'ws:';
socketURL.search = new URLSearchParams({ protocol: 7, client: 'sluice-console', version: config.version || '0', flash: false });

const live = new Live();
const totals = new Totals();
const history = new History(base, config.channels[0] ?? '');
publishForm(base, config.example);

const states = { connecting: 'Connecting', connected: 'Connected', waiting: 'Reconnecting', stopped: 'Disconnected' };

const connection = new Connection(socketURL.href, {
  delta: byID('delta').checked,
  on: {
    state(name, detail = '') {
      byID('status').dataset.state = name;
      setText(byID('state'), states[name]);
      setText(byID('state-detail'), name === 'connected' ? `socket ${detail}` : detail);
      byID('status').title = detail;
      if (name !== 'connected') channels.mark('waiting');
      else notice('');
      lost(name, detail);
    },
    event(event) {
      event.at = Date.now();
      totals.add(event);
      channels.count(event.channel);
      live.add(event);
    },
    subscribed: (channel) => channels.mark('connected', channel),
    refused(channel, reason) {
      channels.remove(channel);
      notice(`Not subscribed to ${channel}: ${reason}.`);
    },
    problem: notice,
  },
});

const channels = new Channels({
  subscribe: (name) => connection.subscribe(name),
  unsubscribe: (name) => connection.unsubscribe(name),
});

// A server that is not there is told for as long as it is not.
function lost(name, detail) {
  if (name === 'connecting') return;
  byID('lost').hidden = name === 'connected';
  if (name === 'waiting') setText(byID('lost-text'), `No connection to the server: ${detail}. The page goes on trying.`);
  if (name === 'stopped') setText(byID('lost-text'), `The server refused the connection: ${detail}.`);
}
byID('retry').addEventListener('click', () => connection.restart({ delta: byID('delta').checked }));

// What went wrong last, above the page, so that nothing on it moves.
function notice(text) {
  setText(byID('notice'), text);
  byID('notice-box').hidden = text === '';
}
byID('notice-close').addEventListener('click', () => notice(''));

byID('delta').addEventListener('change', ({ target }) => connection.restart({ delta: target.checked }));

// Tabs, with the arrow keys as well.
const tabs = ['live', 'history'];
function show(tab) {
  for (const name of tabs) {
    byID(`tab-${name}`).setAttribute('aria-selected', String(name === tab));
    byID(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
    byID(`panel-${name}`).hidden = name !== tab;
  }
  if (tab === 'history') history.load();
}
for (const name of tabs) {
  byID(`tab-${name}`).addEventListener('click', () => show(name));
  byID(`tab-${name}`).addEventListener('keydown', ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
    const other = tabs[(tabs.indexOf(name) + 1) % tabs.length];
    show(other);
    byID(`tab-${other}`).focus();
  });
}

const list = commands(config, root.origin + root.pathname.replace(/\/$/, ''));
byID('commands').append(...commandList(list));
byID('empty-commands').append(...commandList(list));
setText(byID('version'), config.version ? config.version : '');
byID('nav-console').hidden = !config.console;
byID('subscribe-channel').value = '';
for (const name of config.channels) {
  channels.add(name);
  connection.subscribe(name);
}
connection.open();
