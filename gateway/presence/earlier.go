package presence

import (
	"time"

	"github.com/sluicehq/sluice/kv"
)

const (
	// earlierFor is how long another gateway may take until it has told a change, because it may have much to
	// tell.
	earlierFor = 8 * time.Second
	// maxEarlier bounds the recently removed members that are remembered.
	maxEarlier = 256
)

// earlier has the changes of other gateways that must be told before changes of this one: occupied before an
// added member or a count, removed members before vacated, and vacated before occupied again. Each gateway
// tells its own changes at its own speed, so this gateway tells theirs first as well. Receivers recognize a
// change that is told twice by its name. The zero value is empty.
type earlier struct {
	occupied, vacated *dated
	// removed are the members that left since the channel was occupied.
	removed []dated
}

// dated is a change and the time at which it was heard of.
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

// before removes and returns the changes that must be told before a change of this gateway.
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

// lately returns the last change that occupied or vacated a channel, and its time, as far as the records of
// the table show both: the record of a seat that was written again does not have the original time. ok is
// false if there is none, or if it is a change of this gateway.
func (r *Roster) lately(channel string, records []kv.Record) (c Change, at time.Time, ok bool) {
	f := r.foldOf(channel, nil)
	left := map[uint64]time.Time{}
	for _, rec := range records {
		left[rec.Revision] = rec.Time
	}
	for _, s := range stepsOf(records, r.view.Load()) {
		if (s.seat.user == "") == f.byMembers {
			continue // This seat does not occupy a channel of this kind.
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

// newest returns the records of a list, each replaced by a newer one in came, and the records that are only
// in came.
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
