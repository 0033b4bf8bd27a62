package streams

import (
	"context"

	"github.com/sluicehq/sluice/broker/follow"
)

// lookUp finds out where the log has a live message whose place cannot be seen, by
// asking the leader how far the channel goes. It is to be repaired up to there.
func (f *follower) lookUp(ctx context.Context) (func() follow.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptStart)
	defer cancel()
	newest, _, err := f.log.reader.ask(ctx, f.app.stream, getRequest{LastFor: f.subject})
	if err != nil {
		return nil, err
	}
	return func() follow.Found {
		f.doubt = certain
		switch {
		case f.target == toTheEnd:
			return follow.Turned
		case newest.offset > f.At().Offset:
			f.target = newest.offset
			return follow.Turned
		}
		// It was delivered already, or has gone.
		f.Resume()
		return follow.Complete
	}, nil
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
