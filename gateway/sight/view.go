package sight

import (
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Bound is the part of a channel that may be seen at one moment. The zero value is all that
// the log keeps. It is a plain value.
type Bound struct {
	// Off means that nothing of the past may be seen.
	Off bool
	// From is the lowest offset that may be seen, and Time when it was stored; 0 is all that
	// is kept. It is above the newest offset if there is nothing that may be seen.
	From uint64
	Time time.Time
	// Messages is how many may be seen, 0 if that is not known or not bounded.
	Messages uint64
}

// Cut says what keeps a reader from the beginning of what he wants.
type Cut string

const (
	// NotCut: all of it that was ever there may be seen, as far as that is known.
	NotCut Cut = ""
	// CutByRetention: the log does not have the beginning any more.
	CutByRetention Cut = "retention"
	// CutByLimit: the log has more than may be read (channel_history).
	CutByLimit Cut = "channel_history"
)

// Sees says whether a publication may be seen.
func (b Bound) Sees(offset uint64) bool { return !b.Off && offset >= b.From }

// Query narrows a query to what may be seen, and reports false if nothing of it is left.
func (b Bound) Query(q broker.Query) (broker.Query, bool) {
	if b.Off {
		return q, false
	}
	q.From = max(q.From, b.From)
	return q, b.From == 0 || q.To == 0 || q.From <= q.To
}

// Retained makes what the log has of the channel look as if it kept no more than may be
// seen.
func (b Bound) Retained(now broker.Retained) broker.Retained {
	switch {
	case b.Off || b.From > now.Newest:
		return broker.Retained{Epoch: now.Epoch}
	case b.From > now.Oldest:
		now.Oldest, now.OldestTime = b.From, b.Time
		if b.Messages > 0 {
			now.Messages = min(now.Messages, b.Messages)
		}
	}
	return now
}

// Cut says what cuts off the beginning of a wish for everything from an offset, or from a
// time on; zero values wish for nothing that could be missing. now is what the log itself
// has, without the bound.
func (b Bound) Cut(now broker.Retained, from uint64, since time.Time) Cut {
	if now.Messages == 0 {
		return NotCut
	}
	below := func(offset uint64, t time.Time) bool {
		return from > 0 && from < offset || !since.IsZero() && since.Before(t)
	}
	switch {
	case b.Off, b.From > now.Newest && (from > 0 && from <= now.Newest || !since.IsZero() && !since.After(now.NewestTime)):
		return CutByLimit
	case b.From > now.Oldest && b.From <= now.Newest && below(b.From, b.Time):
		return CutByLimit
	case b.From <= now.Oldest && below(now.Oldest, now.OldestTime):
		return CutByRetention
	}
	return NotCut
}
