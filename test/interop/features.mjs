// pusher-js as an application uses it: client events between two connections, a cache
// channel, sign-in and an event to the user. Signatures come from the official server
// SDK. Prints what arrived, one JSON line each.
// Arguments: host port.
import Pusher from 'pusher-js';
import Server from 'pusher';

const [host, port] = process.argv.slice(2);
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const server = new Server({ appId: 'app-id', key: 'app-key', secret: 'app-secret', host, port, useTLS: false });

function connect() {
  return new Pusher('app-key', {
    wsHost: host, wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'], cluster: 'none',
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => done(null, server.authorizeChannel(socketId, channelName)),
    },
    userAuthentication: {
      customHandler: ({ socketId }, done) => done(null, server.authenticateUser(socketId, { id: 'u-7', name: 'Ada' })),
    },
  });
}

const subscribed = (channel) => new Promise((done, failed) => {
  channel.bind('pusher:subscription_succeeded', done);
  channel.bind('pusher:subscription_error', (e) => failed(new Error(JSON.stringify(e))));
});
const once = (target, event) => new Promise((done) => target.bind(event, done));

const a = connect();
const b = connect();

// Client events.
const [roomA, roomB] = [a.subscribe('private-room'), b.subscribe('private-room')];
await Promise.all([subscribed(roomA), subscribed(roomB)]);
let echoed = false;
roomA.bind('client-typing', () => { echoed = true; });
const typing = once(roomB, 'client-typing');
roomA.trigger('client-typing', { on: true, text: 'é' });
print({ clientEvent: await typing });

// Cache channels.
const miss = a.subscribe('cache-news');
await once(miss, 'pusher:cache_miss');
print({ cacheMiss: true });
await server.trigger('cache-news', 'headline', { n: 1 });
const hit = b.subscribe('cache-news');
print({ cached: await once(hit, 'headline') });

// Users.
a.signin();
await a.user.signinDonePromise;
print({ user: a.user.user_data.id });
const note = once(a.user, 'note');
// The library subscribes to the user's channel by itself and tells nobody.
while (!a.user.serverToUserChannel?.subscribed) await new Promise((done) => setTimeout(done, 10));
await server.sendToUser('u-7', 'note', { hello: 'Ada' });
print({ toUser: await note });
print({ echoed });
process.exit(0);
