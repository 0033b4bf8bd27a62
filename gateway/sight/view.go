package sight

import (
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Bound is the readable part of a channel at one moment. The zero value is everything that the log keeps.
type Bound struct {
	// Off means that nothing of the past is readable.
	Off bool
	// From is the lowest readable offset, and Time when it was stored; 0 means everything. It is above the
	// newest offset if nothing is readable.
	From uint64
	Time time.Time
	// Messages is the number of readable events, 0 if it is unknown or not limited.
	Messages uint64
}

// Cut is the reason why the beginning of a requested range is missing.
type Cut string

const (
	// NotCut means that nothing is missing, as far as is known.
	NotCut Cut = ""
	// CutByRetention means that the log no longer has the beginning.
	CutByRetention Cut = "retention"
	// CutByLimit means that the log has more than may be read (channel_history).
	CutByLimit Cut = "channel_history"
)

// Sees reports whether a publication is readable.
func (b Bound) Sees(offset uint64) bool { return !b.Off && offset >= b.From }

// Query narrows a query to the readable part, and reports false if nothing is left.
func (b Bound) Query(q broker.Query) (broker.Query, bool) {
	if b.Off {
		return q, false
	}
	q.From = max(q.From, b.From)
	return q, b.From == 0 || q.To == 0 || q.From <= q.To
}

// Retained narrows what the log keeps to the readable part.
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

// Cut returns why the beginning of a range is missing that begins at an offset or a time; with zero values
// nothing can be missing. now is what the log itself keeps, without the bound.
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
