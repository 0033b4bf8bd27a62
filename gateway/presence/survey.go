package presence

import (
	"context"

	"github.com/sluicehq/sluice/kv"
)

// surveyors is how many queries search the table at a time, half of them for one app, not counting those that
// take long.
const surveyors = 8

// recordBytes is about how much memory a record takes in addition to its key and its value while a list is
// made.
const recordBytes = 512

// survey returns records of seats for a query, once it is known whether their gateways count. room is called
// with the bytes of each piece before the next one is read. Its error ends the survey. It may be nil.
func (r *Roster) survey(ctx context.Context, pattern string, room func(bytes int) error) ([]kv.Record, error) {
	walking, stop := context.WithCancel(ctx)
	defer stop()
	newest, full := map[string]kv.Record{}, error(nil)
	err := r.opt.Table.Walk(walking, pattern, func(piece []kv.Record) {
		n := 0
		for _, rec := range piece {
			n += recordBytes + len(rec.Key) + len(rec.Value)
		}
		if room != nil && full == nil {
			full = room(n)
		}
		if full != nil {
			stop()
			return
		}
		for _, rec := range piece {
			newest[rec.Key] = rec
		}
	})
	switch {
	case full != nil:
		return nil, full
	case err != nil:
		return nil, err
	}
	out := make([]kv.Record, 0, len(newest))
	for _, rec := range newest {
		out = append(out, rec)
	}
	return out, r.judge(ctx, out)
}
