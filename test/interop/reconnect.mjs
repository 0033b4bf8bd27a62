// Connects with pusher-js and prints each state, and "again in N" when it decides to connect again after
// N milliseconds, and "told 4100" for an error of that code. Arguments: host port, a path that precedes others, and a channel that it subscribes to, of which
// it prints "subscribed" and "refused STATUS".
import Pusher from 'pusher-js';

const [host, port, wsPath = '', channel] = process.argv.slice(2);
const p = new Pusher('app-key', { wsHost: host, wsPath, wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'], cluster: 'none' });
const say = (state) => process.stdout.write(JSON.stringify({ state }) + '\n');
p.connection.bind('state_change', ({ current }) => say(current));
const info = p.timeline.info.bind(p.timeline);
p.timeline.info = (event) => {
  if (event.action === 'retry') say(`again in ${event.delay}`);
  info(event);
};
if (channel) {
  const c = p.subscribe(channel);
  c.bind('pusher:subscription_succeeded', () => say('subscribed'));
  c.bind('pusher:subscription_error', ({ status }) => say(`refused ${status}`));
}
p.connection.bind('error', (e) => {
  if ((e?.error?.data ?? e?.data)?.code === 4100) say('told 4100');
});
