// Puts the console together: who is logged in, which view is shown, and whether the server is there.
import { ask, sentence, Stream, tell } from './server.js';
import { byID, setText } from './dom.js';
import * as format from './format.js';
import { Overview } from './overview.js';
import { Browse } from './browse.js';
import { Connections } from './connections.js';
import { Cluster } from './cluster.js';

const refreshEvery = 2000;

const names = { connecting: 'Connecting', connected: 'Live', lost: 'Lost', login: 'Logged out' };
let state = '';
let countdown = 0;
let lastTotals = 0;
let away = 0; // when the connection was lost that is back

const stream = new Stream({
  state: setState,
  totals(t) {
    lastTotals = Date.now();
    overview.totals(t);
  },
  live: (group) => browse.live(group),
  refused: (why) => browse.refused(why),
});

function trouble(err) {
  if (err.status === 401) setState('login');
  else if (err.status !== 0 || err.code === 'late' && state === 'connected') notice(`Something could not be shown: ${err.message}.`);
}

const go = (view, query) => { location.hash = query ? `#/${view}?${new URLSearchParams(query)}` : `#/${view}`; };

const overview = new Overview(trouble);
const browse = new Browse({ look: (place) => stream.look(place), error: trouble, go: (place) => go('channels', place) });
const connections = new Connections({ error: trouble, notice, go: (id) => go('connections', id === null ? null : { id }) });
const cluster = new Cluster(trouble);

const views = {
  overview: { show: () => overview.show(), hide() {}, refresh: () => overview.refresh() },
  channels: { show: (q) => browse.show(q.get('channel') ? { app: q.get('app') ?? '', channel: q.get('channel') } : null), hide: () => browse.hide(), refresh: () => browse.refresh() },
  connections: { show: (q) => connections.show(q.get('id')), hide: () => connections.hide(), refresh: () => connections.refresh() },
  cluster: { show: () => cluster.show(), hide() {}, refresh: () => cluster.refresh() },
};
let view = '';

// route shows the view that the address names.
function route() {
  const [name, query = ''] = location.hash.replace(/^#\//, '').split('?');
  const next = Object.hasOwn(views, name) ? name : 'overview';
  if (view && view !== next) views[view].hide();
  for (const v of Object.keys(views)) byID(`view-${v}`).hidden = v !== next;
  for (const a of byID('nav').querySelectorAll('a')) {
    if (a.getAttribute('href') === `#/${next}`) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  const moved = view !== next;
  view = next;
  document.title = `${next[0].toUpperCase()}${next.slice(1)} · Sluice console`;
  views[next].show(new URLSearchParams(query));
  if (moved) byID('main').focus({ preventScroll: true });
}
addEventListener('hashchange', () => { if (state !== 'login' && view) route(); });

// A page that nobody looks at asks for nothing.
setInterval(() => { if (state === 'connected' && view && !document.hidden) views[view].refresh(); }, refreshEvery);

// setState says how it is. What is lost has a sentence, and the time until the next attempt in ms.
function setState(name, why = '', wait = 0) {
  clearInterval(countdown);
  if (name !== state) {
    if (state === 'connected') away = lastTotals;
    if (name === 'connected' && away) browse.gap(away);
    byID('status').dataset.state = document.body.dataset.state = name;
    setText(byID('state'), names[name]);
    state = name;
    if (name === 'login') login();
  }
  byID('main').dataset.stale = String(name === 'lost');
  byID('lost').hidden = name !== 'lost';
  if (name === 'lost') {
    const until = Date.now() + wait;
    setText(byID('lost-text'), lastTotals ? `${why} What you see is from ${format.clock(lastTotals).slice(0, 8)}.` : why);
    // The seconds are beside the alert, which would be read out with each of them.
    const say = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      setText(byID('lost-wait'), left > 0 ? `Trying again in ${left} s.` : 'Trying again.');
    };
    say();
    countdown = setInterval(say, 1000);
  }
  banner();
}

const banner = () => { document.body.dataset.banner = String(!byID('lost').hidden || !byID('notice-box').hidden); };
byID('retry').addEventListener('click', () => {
  clearInterval(countdown);
  setText(byID('lost-wait'), 'Trying again.');
  if (view) stream.open();
  else start();
});

function notice(text) {
  setText(byID('notice'), text);
  byID('notice-box').hidden = text === '';
  banner();
}
byID('notice-close').addEventListener('click', () => notice(''));

function login() {
  stream.close();
  clearTimeout(again);
  view = '';
  for (const v of Object.keys(views)) byID(`view-${v}`).hidden = true;
  byID('nav').hidden = byID('logout').hidden = true;
  byID('login').hidden = false;
  byID('token').value = '';
  byID('token').focus();
}
byID('login').addEventListener('submit', async (e) => {
  e.preventDefault();
  const wrong = byID('login-wrong');
  try {
    await tell('login', { token: byID('token').value });
    setText(wrong, '');
    await start();
    if (state === 'login') setText(wrong, 'The token is right, but the browser does not send the cookie of the session. Allow cookies of this address.');
  } catch (err) {
    setText(wrong, err.status === 401 ? 'This is not the token.' : `Logging in failed: ${err.message}.`);
  }
});
byID('logout').addEventListener('click', async () => {
  try {
    await tell('logout');
    location.reload(); // nothing that was seen stays in the page
  } catch (err) {
    if (err.status === 401) location.reload();
    else notice(`Logging out failed: ${err.message}.`);
  }
});

let again = 0;

async function start() {
  clearTimeout(again);
  if (state !== 'lost') setState('connecting');
  let about;
  try {
    about = await ask('session');
  } catch (err) {
    if (err.status === 401) return setState('login');
    setState('lost', sentence(err), 5000);
    again = setTimeout(start, 5000);
    return;
  }
  byID('token').value = '';
  byID('login').hidden = true;
  byID('nav').hidden = false;
  byID('logout').hidden = !about.token;
  byID('nav-try').hidden = !about.beside;
  byID('status').title = `${about.version} · gateway ${about.node}`;
  browse.apps(about.apps);
  stream.open();
  route();
}
start();
