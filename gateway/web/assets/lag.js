// How far a connection is behind the log, in words.
import * as format from './format.js';

// lagText says how far a connection is behind the log.
export function lagText(c) {
  const ms = Math.max(c.lag_ms, c.blocked_ms);
  if (c.closing) return 'closing';
  if (c.catching_up) return 'catching up';
  if (!c.lag_events && !ms) return 'none';
  // What a socket that takes nothing was being written is not counted in events.
  if (!c.lag_events) return `stuck for ${format.span(ms)}`;
  const events = c.lag_events === 1 ? '1 event' : `${format.count(c.lag_events)} events`;
  return ms ? `${events}, ${format.span(ms)}` : events;
}

export const isSlow = (c) => c.blocked_ms > 0 || c.behind > 0 || c.catching_up > 0 || c.closing;
