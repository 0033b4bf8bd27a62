// Receives with an unmodified pusher-js and prints every event as a JSON line.
// Arguments: host port key channel. Ends when standard input ends.
import Pusher from 'pusher-js';

const [host, port, key, channel] = process.argv.slice(2);
const pusher = new Pusher(key, {
  wsHost: host, wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'],
  cluster: 'none', disableStats: true,
});
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');

pusher.connection.bind('state_change', ({ previous, current }) => print({ state: current, previous }));
pusher.connection.bind('error', (err) => print({ error: err?.data ?? err?.error?.data ?? String(err) }));
const subscription = pusher.subscribe(channel);
subscription.bind('pusher:subscription_succeeded', () => print({ subscribed: channel }));
subscription.bind('pusher:subscription_error', (err) => print({ refused: err }));
subscription.bind_global((event, data) => {
  if (!event.startsWith('pusher:')) print({ event, data });
});
process.stdin.resume();
process.stdin.on('end', () => { pusher.disconnect(); process.exit(0); });
