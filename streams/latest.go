package streams

import (
	"context"
	"math"
	"slices"
)

// latestTries is how often the last messages of a channel are looked for before its retention is asked for.
const latestTries = 3

// last reads the last n messages up to one that is known to be there, newest first, with one request if they lie
// about as far apart as those of other channels of the app that were read lately. It reports false if it was not
// there, or if they are too unevenly spread, or too large.
func (s span) last(ctx context.Context, to uint64, n int) (out []stored, ok bool, err error) {
	apart, lead, err := s.app.spacing.ask(ctx)
	if err != nil {
		return nil, false, err
	}
	if lead != nil {
		defer s.app.spacing.over(lead)
	}
	most := max(n+n/2+16, pageSize)
	s.page = apart.page()
	out, ok, err = s.latest(ctx, to, n, most, apart.back(n, most))
	if err != nil || !ok {
		return nil, false, err
	}
	if len(out) >= n {
		s.app.spacing.saw(spreadOf(out), n, most)
	}
	out = out[max(len(out)-n, 0):]
	slices.Reverse(out)
	return out, true, nil
}

// latest reads the last n messages up to one, or up to most, or all that there are. It begins so far back, and
// then where it must by what it found there. Of a channel that has few there, it asks how many it has in all.
func (s span) latest(ctx context.Context, to uint64, n, most int, back uint64) (out []stored, ok bool, err error) {
	low := uint64(1)
	for range latestTries {
		start := low
		if to > back {
			start = max(low, to-back)
		}
		out, end, err := s.upTo(ctx, start, to, most)
		switch {
		case err != nil:
			return nil, false, err
		case end && (len(out) == 0 || out[len(out)-1].offset != to):
			return nil, false, nil // It is gone.
		case end && (len(out) >= n || start == low):
			return out, true, nil
		case !end && len(out) < most:
			return nil, false, nil // They are large, and it would read many that it does not keep.
		case end && 4*len(out) < n && low == 1:
			if low, back, err = s.stretch(ctx, to, n, most, back); err != nil || low == 0 {
				return nil, false, err
			}
			if low >= out[0].offset {
				return out, true, nil
			}
			continue
		}
		have := len(out)
		if !end {
			have += int(out[len(out)-1].pending)
		}
		back = rescale(back, aim(n, most)/float64(have))
	}
	return nil, false, nil
}

// stretch returns where a channel begins, 0 if it has nothing, and how far back to look for its last messages, which
// is further than before.
func (s span) stretch(ctx context.Context, to uint64, n, most int, back uint64) (low, further uint64, err error) {
	first, total, err := s.probe(ctx, 1)
	switch {
	case err != nil || total == 0 || first.offset > to:
		return 0, 0, err
	case total <= uint64(most):
		return first.offset, to, nil
	}
	return first.offset, max(2*back, rescale(to-first.offset, aim(n, most)/float64(total))), nil
}

func rescale(back uint64, by float64) uint64 { return 1 + uint64(min(float64(back)*by, maxOffset/2)) }

// aim is how many messages are looked for if n are wanted and up to most are read: as many times more than
// wanted as less than would be too many.
func aim(n, most int) float64 { return math.Sqrt(float64(n) * float64(most)) }

// spreadOf is how far messages of a channel lie from each other on the average, 0 if that is not known.
func spreadOf(all []stored) apart {
	if len(all) < 2 {
		return 0
	}
	return apart(all[len(all)-1].offset-all[0].offset) / apart(len(all)-1)
}
