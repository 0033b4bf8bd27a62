package streams

import (
	"context"
	"math"
	"slices"
)

// latestTries is how often the last messages of a channel are searched for before the state of the channel is requested.
const latestTries = 3

// last reads the last n messages up to a known one, newest first. One request is enough if the messages are about as far
// apart as those of other channels of the app that were read lately. It reports false if the known message is gone, or if
// the messages are spread too unevenly or too large.
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

// latest reads at least the last n messages up to a known one, at most most, or all that there are. It begins back offsets
// before it, and corrects that distance by what it finds. If it finds few messages, it asks how many the channel has.
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
			return nil, false, nil // the known message is gone
		case end && (len(out) >= n || start == low):
			return out, true, nil
		case !end && len(out) < most:
			return nil, false, nil // the messages are large, and many would be read in vain
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

// stretch returns the first offset of a channel, 0 if it has no messages, and a larger distance to search for its last
// messages.
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

// aim returns the number of messages to search for, if n are wanted and up to most may be read. Its ratio to n is the same
// as the ratio of most to it.
func aim(n, most int) float64 { return math.Sqrt(float64(n) * float64(most)) }

// spreadOf returns the average distance of messages of a channel in the stream, 0 if that is not known.
func spreadOf(all []stored) apart {
	if len(all) < 2 {
		return 0
	}
	return apart(all[len(all)-1].offset-all[0].offset) / apart(len(all)-1)
}
