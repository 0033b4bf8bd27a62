// The official Node SDK at every door: signs for a client whose socket id comes on
// standard input, publishes, queries, and checks a webhook. Prints one JSON line.
// Arguments: host port.
import Server from 'pusher';
import { createInterface } from 'node:readline';

const [host, port] = process.argv.slice(2);
const server = new Server({
  appId: '4711', key: 'app-key', secret: 'app-secret', host, port, useTLS: false,
  encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64'),
});
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { socket, hook } = JSON.parse((await lines.next()).value);
const data = { user_id: '1', user_info: { name: 'née/x' } };
const get = async (path, params) => (await server.get({ path, params })).json();

console.log(JSON.stringify({
  channels: {
    'private-x': server.authorizeChannel(socket, 'private-x'),
    'private-data': server.authorizeChannel(socket, 'private-data', data),
    'private-cache-data': server.authorizeChannel(socket, 'private-cache-data', data),
    'private-encrypted-x': server.authorizeChannel(socket, 'private-encrypted-x', data),
    'presence-x': server.authorizeChannel(socket, 'presence-x', data),
  },
  user: server.authenticateUser(socket, { id: 'auth0|5f a+b', name: 'née' }),
  answers: {
    list: await get('/channels', { filter_by_prefix: 'presence-', info: ['user_count'] }),
    one: await get('/channels/presence-sdk', { info: ['user_count', 'subscription_count'] }),
    semicolon: await get('/channels', { filter_by_prefix: 'a;b' }),
    unknown: await get('/channels', { infos: 'user_count' }).catch((e) => e.status),
  },
  webhook: server.webhook({ headers: { 'x-pusher-key': hook.key, 'x-pusher-signature': hook.signature, 'content-type': 'application/json' }, rawBody: hook.body }).isValid(),
}));

// The client has signed in by now.
await lines.next();
await server.sendToUser('auth0|5f a+b', 'note', { hello: 'Ada' });
await lines.next();
await server.terminateUserConnections('auth0|5f a+b');
process.exit(0);
