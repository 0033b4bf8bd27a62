package streams

import (
	"context"
	"time"
)

// lookUp finds out where the log has a live message whose place cannot be seen, by
// asking the leader how far the channel goes, and repairs up to there. The lock is held.
func (f *follower) lookUp() {
	f.state = repairing
	f.target = f.track.last
	f.log.running.Go(func() {
		patience := newPatience(f.log)
		newest, err := f.askNewest()
		for err != nil && patience.left() {
			select {
			case <-f.log.ctx.Done():
				return
			case <-time.After(attemptPause):
			}
			newest, err = f.askNewest()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case f.state != repairing || f.log.ctx.Err() != nil:
		case f.target == toTheEnd:
			f.repair(toTheEnd)
		case newest > max(f.track.last, f.origin):
			f.repair(newest)
		default:
			// It was delivered already, or has gone. If the leader did not answer, the
			// next message shows what is missing before it.
			f.resume()
		}
	})
}

// askNewest returns the offset of the channel's newest message, 0 if there is none.
func (f *follower) askNewest() (uint64, error) {
	ctx, cancel := context.WithTimeout(f.log.ctx, attemptStart)
	defer cancel()
	m, _, err := f.log.reader.ask(ctx, f.app.stream, getRequest{LastFor: f.subject})
	return m.offset, err
}

// unknown leaves out the held messages of unknown place that were delivered: what came
// before one that continues from what was delivered. Of several in a row one is enough to
// ask for all.
func unknown(held []arrival, delivered uint64) []arrival {
	covered := len(held) - 1
	for covered >= 0 && (held[covered].unseen || held[covered].prev > delivered) {
		covered--
	}
	out := held[:0]
	for i, m := range held {
		again := m.unseen && len(out) > 0 && out[len(out)-1].unseen
		if m.unseen && i < covered || again {
			continue
		}
		out = append(out, m)
	}
	return out
}
