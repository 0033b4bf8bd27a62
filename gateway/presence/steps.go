package presence

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// step is the state of a seat from a revision on.
type step struct {
	seat seat
	latest
	// early: the state is inferred from a later record, which has replaced the one that said so first. The
	// time of that is not known.
	early bool
	// record is the revision of the record in the table.
	record uint64
	time   time.Time
}

// stepsOf returns what records say of their seats, in the order in which it happened. In the order of the
// records, a channel would seem empty between a user that leaves and another one whose seat was written again
// later.
func stepsOf(records []kv.Record, view *register) []step {
	var out []step
	for _, rec := range records {
		s, n, ok := parse(rec.Key, rec.Value)
		if !ok {
			continue
		}
		counts := view.counts(s.node, rec.Revision)
		last := step{seat: s, latest: latest{n, rec.Revision, counts && !n.Gone}, record: rec.Revision, time: rec.Time}
		if n.Since > 0 && n.Since < rec.Revision {
			was, at := content{User: n.User, Info: n.Info, Count: 1, First: n.First}, n.Since
			if n.First > 0 {
				at = n.First
			}
			out = append(out, step{seat: s, latest: latest{was, at, counts}, early: true, record: rec.Revision})
			last.time = time.Time{}
		}
		if n.First > 0 {
			last.time = time.Time{} // The channel was occupied at another time.
		}
		out = append(out, last)
	}
	slices.SortStableFunc(out, func(a, b step) int { return cmp.Compare(a.revision, b.revision) })
	return out
}

// owes reports whether a change by a step of a dead gateway must be told for it. The gateway had told
// everything up to the revision told. A seat that was written again was told of at its first write. Earlier
// numbers of subscriptions are not known, nor when the first one was written if the record does not say so.
func (s *step) owes(c Change, byMembers bool, told uint64) bool {
	switch c.Kind {
	case Added:
		return c.Cause > told
	case Occupied:
		return c.Cause > told && (byMembers || !s.early || s.First > 0)
	}
	return !s.early && s.revision > told && (s.Gone || s.Since == 0)
}
