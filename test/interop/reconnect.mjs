// Connects with pusher-js and prints each state, and "waits" when it is about to wait before it
// connects again. Arguments: host port, and a path that precedes others.
import Pusher from 'pusher-js';

const [host, port, wsPath = ''] = process.argv.slice(2);
const p = new Pusher('app-key', { wsHost: host, wsPath, wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'], cluster: 'none' });
const say = (state) => process.stdout.write(JSON.stringify({ state }) + '\n');
p.connection.bind('state_change', ({ current }) => say(current));
p.connection.bind('connecting_in', () => say('waits'));
