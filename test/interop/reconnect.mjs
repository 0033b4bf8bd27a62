// Connects with pusher-js and prints each state with the time since the last.
// Arguments: host port, and a path that precedes others.
import Pusher from 'pusher-js';

const [host, port, wsPath = ''] = process.argv.slice(2);
const p = new Pusher('app-key', { wsHost: host, wsPath, wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'], cluster: 'none' });
let last = Date.now();
p.connection.bind('state_change', ({ current }) => {
  process.stdout.write(JSON.stringify({ state: current, ms: Date.now() - last }) + '\n');
  last = Date.now();
});
