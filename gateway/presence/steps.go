package presence

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// step is what a seat was from a revision on.
type step struct {
	seat seat
	latest
	// early: the seat was held then as a later record says, which is in the table in
	// the place of the one that said so first. When that was is not known.
	early bool
	// record is the revision of the record that says so.
	record uint64
	time   time.Time
}

// stepsOf is what records say of their seats, in the order in which it happened. Who takes
// them in by the order of the records would see a channel empty between one who leaves and
// another one whose seat was written again later.
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
			last.time = time.Time{} // Who occupied the channel did so at another time.
		}
		out = append(out, last)
	}
	slices.SortStableFunc(out, func(a, b step) int { return cmp.Compare(a.revision, b.revision) })
	return out
}

// owes says whether a change by a step of a gateway that died must be told for it, which had told up to a revision.
// A seat that was written again was told of when it was written first. What a number of subscriptions was earlier
// is not known, nor when it was the first one if its record does not say so.
func (s *step) owes(c Change, byMembers bool, told uint64) bool {
	switch c.Kind {
	case Added:
		return c.Cause > told
	case Occupied:
		return c.Cause > told && (byMembers || !s.early || s.First > 0)
	}
	return !s.early && s.revision > told && (s.Gone || s.Since == 0)
}
