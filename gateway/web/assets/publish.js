// The form that publishes an event.
import { call } from './api.js';
import { byID } from './dom.js';

// base is the URL of the app's API, channel the name to begin with.
export function publishForm(base, channel) {
  const result = byID('publish-result');
  byID('publish-channel').value = channel;
  byID('publish').addEventListener('submit', async (e) => {
    e.preventDefault();
    const button = e.submitter ?? e.target.querySelector('button');
    button.disabled = true;
    const started = performance.now();
    try {
      await call(`${base}/events`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
          name: byID('publish-name').value.trim(), channel: byID('publish-channel').value.trim(), data: byID('publish-data').value,
        }),
      });
      say(true, `Stored in ${Math.max(1, Math.round(performance.now() - started))} ms`);
    } catch (err) {
      say(false, err.message);
    } finally {
      button.disabled = false;
    }
  });

  function say(ok, text) {
    result.dataset.ok = ok;
    result.textContent = text;
  }
}
