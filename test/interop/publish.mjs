// Publishes with the official server SDK: arguments host port appId key secret
// channel count first. Every event carries its number, and every tenth call is
// a batch of ten.
import Pusher from 'pusher';

const [host, port, appId, key, secret, channel, count, first] = process.argv.slice(2);
const pusher = new Pusher({ appId, key, secret, host, port, useTLS: false });
const from = Number(first);
const body = (n) => ({ source: 'sdk', n, reading: { celsius: 20 + (n % 7) / 10, label: 'Zürich' }, pad: 'x'.repeat(300) });

for (let n = from; n < from + Number(count);) {
  if (n % 20 === 0 && n + 10 <= from + Number(count)) {
    const batch = [];
    for (let i = 0; i < 10; i++, n++) batch.push({ channel, name: 'reading', data: body(n) });
    const answer = await pusher.triggerBatch(batch);
    if (answer.status !== 200) throw new Error(`batch: ${answer.status}`);
  } else {
    const answer = await pusher.trigger(channel, 'reading', body(n++));
    if (answer.status !== 200) throw new Error(`trigger: ${answer.status}`);
  }
}
