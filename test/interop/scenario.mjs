// What an application does with pusher-js and Laravel Echo, in Node and in a browser
// alike: presence, client events, encryption, users, watchlists, refusals. `ask` is the
// application's own server. Returns what was seen.
export async function scenario({ Pusher, Echo, host, port, origin, ask }) {
  const seen = {};
  const connect = (user) => new Pusher('app-key', {
    wsHost: host, wsPort: port, forceTLS: false, enabledTransports: ['ws'], cluster: 'none',
    channelAuthorization: { endpoint: `${origin}/auth`, transport: 'ajax', params: { user } },
    userAuthentication: { endpoint: `${origin}/user`, transport: 'ajax', params: { user } },
  });
  const once = (target, event) => new Promise((done) => target.bind(event, (data, meta) => done(meta ? { data, meta } : data)));
  const subscribed = (channel) => new Promise((done, failed) => {
    channel.bind('pusher:subscription_succeeded', done);
    channel.bind('pusher:subscription_error', (e) => failed(new Error(JSON.stringify(e))));
  });
  const until = async (holds) => { while (!holds()) await new Promise((done) => setTimeout(done, 5)); };

  const [a, b] = [connect('u1'), connect('u2')];
  let global = 0;

  // Presence.
  const roomA = a.subscribe('presence-room');
  roomA.bind_global((event) => { if (event === 'pusher:subscription_succeeded') global++; });
  await subscribed(roomA);
  const added = once(roomA, 'pusher:member_added');
  const roomB = b.subscribe('presence-room');
  await subscribed(roomB);
  seen.added = (await added).id;
  await until(() => roomA.members.count === 2);
  seen.members = { count: roomB.members.count, me: roomB.members.me, u1: roomB.members.get('u1') };
  const event = once(roomA, 'client-typing');
  roomB.trigger('client-typing', { on: true });
  seen.clientEvent = await event;
  const removed = once(roomA, 'pusher:member_removed');
  b.unsubscribe('presence-room');
  seen.removed = (await removed).id;
  seen.global = global;

  // A refusal, which the channel hears of.
  const denied = a.subscribe('private-denied');
  seen.denied = (({ type, status }) => ({ type, status }))((await once(denied, 'pusher:subscription_error')).data);

  // End-to-end encryption.
  const secret = a.subscribe('private-encrypted-x');
  await subscribed(secret);
  const opened = once(secret, 'note');
  await ask('/publish?channel=private-encrypted-x&data=secret');
  seen.encrypted = await opened;

  // Counts.
  const plain = a.subscribe('plain');
  seen.counts = (await once(plain, 'pusher:subscription_count')).subscription_count;

  // Users, watchlists, termination.
  const online = new Promise((done) => a.user.watchlist.bind('online', (e) => done(e.user_ids)));
  const offline = new Promise((done) => a.user.watchlist.bind('offline', (e) => { if (seen.offline1) done(e.user_ids); else seen.offline1 = e.user_ids; }));
  a.signin();
  await a.user.signinDonePromise;
  await until(() => seen.offline1);
  b.signin();
  await b.user.signinDonePromise;
  seen.online = await online;
  const told = once(a.user, 'note');
  await until(() => a.user.serverToUserChannel?.subscribed);
  await ask('/tell?user=u1');
  seen.toUser = await told;
  await ask('/terminate?user=u2');
  await until(() => b.connection.state === 'disconnected');
  seen.offline = await offline;

  // Laravel Echo on top of the library.
  const options = (user) => ({ broadcaster: 'pusher', key: 'app-key', client: connect(user) });
  const [echoA, echoB] = [new Echo(options('e1')), new Echo(options('e2'))];
  const here = new Promise((done) => echoA.join('lobby').here((users) => done(users)));
  seen.here = await here;
  const joining = new Promise((done) => echoA.join('lobby').joining(done));
  const lobbyB = echoB.join('lobby');
  seen.joining = await joining;
  const listened = new Promise((done) => echoA.private('orders').listen('.Shipped', done));
  const whispered = new Promise((done) => echoA.join('lobby').listenForWhisper('hi', done));
  await until(() => echoA.private('orders').subscription.subscribed && lobbyB.subscription.subscribed);
  await ask('/publish?channel=private-orders&event=Shipped&data=7');
  seen.listened = await listened;
  lobbyB.whisper('hi', { from: 'e2' });
  seen.whispered = await whispered;
  const leaving = new Promise((done) => echoA.join('lobby').leaving(done));
  echoB.leave('lobby');
  seen.leaving = await leaving;

  // An unknown key ends for good.
  const stranger = new Pusher('nobody', { wsHost: host, wsPort: port, forceTLS: false, enabledTransports: ['ws'], cluster: 'none' });
  const states = [];
  stranger.connection.bind('state_change', ({ current }) => states.push(current));
  await until(() => states.at(-1) === 'disconnected' || states.at(-1) === 'failed');
  seen.stranger = states.at(-1);

  delete seen.offline1;
  for (const p of [a, b, echoA, echoB, stranger]) p.disconnect();
  return seen;
}
