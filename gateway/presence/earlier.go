package presence

import (
	"time"

	"github.com/sluicehq/sluice/kv"
)

const (
	// earlierFor is how long a change of another gateway may be on its way to where
	// changes are told. It may have much to tell.
	earlierFor = 8 * time.Second
	// maxEarlier bounds the members that are remembered to have left lately.
	maxEarlier = 256
)

// earlier has the changes of other gateways that must be told before changes of this
// one: that a channel is occupied before who is added to it or counted, who is removed before it
// is vacated, and that it was vacated before it is occupied again. Each gateway tells its own
// changes at its own speed, so this one tells theirs first, too. Who is told twice knows a
// change by its name. The zero value is empty.
type earlier struct {
	occupied, vacated *dated
	// removed left since the channel was occupied.
	removed []dated
}

// dated is a change with when it was heard of.
type dated struct {
	change Change
	at     time.Time
}

// remember keeps a change of another gateway.
func (e *earlier) remember(c Change, now time.Time) {
	switch c.Kind {
	case Occupied:
		*e = earlier{occupied: &dated{c, now}}
	case Vacated:
		e.occupied, e.vacated = nil, &dated{c, now}
	case Removed:
		if len(e.removed) == maxEarlier {
			e.removed = append(e.removed[:0], e.removed[1:]...)
		}
		e.removed = append(e.removed, dated{c, now})
	}
}

// before returns what must be told before a change of this gateway, once.
func (e *earlier) before(c Change, now time.Time) (out []Change) {
	var first []dated
	switch c.Kind {
	case Added, Counted:
		if e.occupied != nil {
			first = []dated{*e.occupied}
		}
		e.occupied = nil
	case Occupied, Vacated:
		first = e.removed
		if e.vacated != nil {
			first = append(first, *e.vacated)
		}
		*e = earlier{}
	}
	for _, t := range first {
		if now.Sub(t.at) < earlierFor {
			out = append(out, t.change)
		}
	}
	return out
}

// lately is the change by which those that a table lists came to occupy their channel, or
// the last of them to leave vacated it, and when that was, as far as both are to be seen: a seat
// that was written again has no time. It is not ok for one of this gateway.
func (r *Roster) lately(channel string, records []kv.Record) (c Change, at time.Time, ok bool) {
	f := r.foldOf(channel, nil)
	left := map[uint64]time.Time{}
	for _, rec := range records {
		left[rec.Revision] = rec.Time
	}
	for _, s := range stepsOf(records, r.view.Load()) {
		if (s.seat.user == "") == f.byMembers {
			continue // It does not occupy a channel of this kind.
		}
		for _, change := range f.take(holder{s.seat.node, s.seat.user}, s.latest) {
			switch change.Kind {
			case Occupied:
				c, at, ok = change, s.time, true
			case Vacated:
				c, at, ok = change, left[s.record], true
			}
		}
	}
	return c, at, ok && c.Node != r.opt.Node
}

// newest are the records of a list, each as it was when it came if that was later, and those that
// came and are not in the list.
func newest(records []kv.Record, came map[string]kv.Record) []kv.Record {
	if len(came) == 0 {
		return records
	}
	var out []kv.Record
	listed := map[string]bool{}
	for _, rec := range records {
		listed[rec.Key] = true
		if later := came[rec.Key]; later.Revision > rec.Revision {
			rec = later
		}
		out = append(out, rec)
	}
	for key, rec := range came {
		if !listed[key] {
			out = append(out, rec)
		}
	}
	return out
}
