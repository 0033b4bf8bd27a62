package streams

import (
	"context"

	"github.com/sluicehq/sluice/broker/follow"
)

// lookUp handles a live message whose place cannot be read. It asks the leader where the channel ends, and repairs up to there.
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
		// The message was delivered already, or was removed.
		f.Resume()
		return follow.Complete
	}, nil
}

// unknown filters held messages. It drops messages of unknown place that must have been delivered already, because a later one
// continues from the last delivered message. Of several unknown ones in a row it keeps one, which is enough to ask for all.
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
