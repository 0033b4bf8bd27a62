package streams

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// span is the part of the log that belongs to one channel, for one reading.
type span struct {
	log     *Log
	app     *appLog
	channel string
	subject string
	// page is the number of messages of one reading.
	page int
	// known is what the log had a moment ago, zero if it was not asked. apart is the average distance of the messages of
	// the channel in the stream.
	known broker.Retained
	apart float64
}

func (l *Log) span(app, channel string) (span, error) {
	a, err := l.app(app)
	if err != nil {
		return span{}, err
	}
	if l.ctx.Err() != nil {
		return span{}, broker.ErrClosed
	}
	return span{log: l, app: a, channel: channel, subject: publishSubject(l.opt.Prefix, app, channel), page: pageSize}, nil
}

// spread returns the span with known set, and with apart and page computed from it.
func (s span) spread(known broker.Retained) span {
	s.known = known
	if known.Messages > 0 && known.Newest >= known.Oldest {
		s.apart = float64(known.Newest-known.Oldest+1) / float64(known.Messages)
		s.page = int(min(max(passed/max(s.apart, 1), pageSize), widePage))
	}
	return s
}

// next reads up to n messages from an offset on, at most one page.
func (s span) next(ctx context.Context, from uint64, n int) ([]stored, error) {
	return s.log.reader.page(ctx, s.app.stream, s.subject, from, min(n, s.page))
}

// probe returns the first message at or above an offset, and the number of
// messages from it to the end.
func (s span) probe(ctx context.Context, offset uint64) (stored, uint64, error) {
	got, err := s.next(ctx, offset, 1)
	if err != nil || len(got) == 0 {
		return stored{}, 0, err
	}
	return got[0], got[0].pending + 1, nil
}

// firstSince returns the offset of the first message stored at or after a time;
// beyond the end if there is none.
func (s span) firstSince(ctx context.Context, t time.Time) (uint64, error) {
	// The server compares nanoseconds in an int64, so no message has a time outside that range.
	switch {
	case t.After(lastTime):
		return maxOffset, nil
	case t.Before(firstTime):
		t = firstTime
	}
	t = t.UTC()
	got, err := s.log.reader.fetch(ctx, s.app.stream, getRequest{StartTime: &t, NextFor: s.subject})
	if err != nil {
		return 0, err
	}
	if len(got) == 0 {
		return maxOffset, nil
	}
	return got[0].offset, nil
}

const maxOffset = 1<<63 - 1

var firstTime, lastTime = time.Unix(0, 0), time.Unix(0, math.MaxInt64)

// size returns about the memory of a message, in bytes.
func (m *stored) size() int {
	if m.pub != nil {
		return m.bytes
	}
	n := len(m.data)
	for key, values := range m.header {
		for _, v := range values {
			n += len(key) + len(v)
		}
	}
	return n
}

// forward reads up to n messages between two offsets. It stops earlier when they reach broker.PageBytes, but returns at
// least two. It reads one message more to learn whether there is more.
func (s span) forward(ctx context.Context, from, to uint64, n int) (out []stored, more bool, err error) {
	// A reader that continues at a position reads that message again to verify what follows it. A cursor continues
	// after it.
	w := s.walk(n, false, from-1, from)
	if out, more, err = w.forward(ctx, from, to); more {
		w.ended(false, out)
	}
	return out, more, err
}

func (w *walk) forward(ctx context.Context, from, to uint64) (out []stored, more bool, err error) {
	n := w.limit
	for bytes := 0; bytes < broker.PageBytes || len(out) < 2; {
		page, err := w.onward(ctx, from, to, n+1-len(out))
		if err != nil {
			return nil, false, err
		}
		for _, m := range page {
			if m.offset > to {
				return out, false, nil
			}
			if len(out) == n {
				return out, true, nil
			}
			out = append(out, m)
			bytes += m.size()
		}
		if len(page) == 0 || page[len(page)-1].pending == 0 {
			return out, false, w.whole(to)
		}
		from = page[len(page)-1].offset + 1
	}
	next, rank, err := w.probe(ctx, from)
	if err == nil && rank == 0 {
		err = w.whole(to)
	}
	return out, rank > 0 && next.offset <= to, err
}

// whole is called when a replica has no more messages up to an offset. If the leader has messages above that offset, the
// replica is behind and may also lack messages below it. Then whole returns errStale.
func (s span) whole(to uint64) error {
	if s.app.copies.Load() > 1 && s.known.Newest > to {
		return errStale
	}
	return nil
}

// fewLarge is a number of messages that may be read however large they are.
const fewLarge = 16

// tail reads up to n messages between two offsets, and returns the last ones, up to broker.PageBytes. dropped says that
// it left out earlier ones. It gives up, with enough false, if it would have to read many that it does not return.
func (s span) tail(ctx context.Context, from, to uint64, n int) (out []stored, dropped, enough bool, err error) {
	bytes, read, given := 0, 0, 0
	for read < n {
		page, err := s.next(ctx, from, n-read)
		if err != nil {
			return nil, false, false, err
		}
		for _, m := range page {
			if m.offset > to {
				return out, given > 0, true, nil
			}
			out = append(out, m)
			bytes += m.size()
		}
		for len(out) > 1 && bytes > broker.PageBytes {
			bytes -= out[0].size()
			given += out[0].size()
			out[0] = stored{}
			out = out[1:]
		}
		if len(page) == 0 || page[len(page)-1].pending == 0 {
			return out, given > 0, true, s.whole(to)
		}
		if given > broker.PageBytes && n > 8*fewLarge {
			return out, true, false, nil
		}
		read += len(page)
		from = page[len(page)-1].offset + 1
	}
	return out, given > 0, true, s.whole(to)
}

// near reads at least the last n messages between low and to; the newest one is at about high. It begins reading back
// offsets before high, and corrects that distance by what it finds, up to three times. It reports false if the messages
// are spread too unevenly for that.
func (s span) near(ctx context.Context, low, to, high uint64, n int, back uint64) (out []stored, start uint64, ok bool, err error) {
	most := max(n+n/2+16, pageSize)
	for range 3 {
		start = low
		if high > low && high-low > back {
			start = high - back
		}
		out, end, err := s.upTo(ctx, start, to, most)
		if err != nil {
			return nil, 0, false, err
		}
		if end && (len(out) >= n || start == low) {
			return out, start, true, nil
		}
		if !end && len(out) < most {
			return nil, 0, false, nil // the messages are large, and many would be read in vain
		}
		have := float64(len(out))
		if !end {
			have += float64(out[len(out)-1].pending)
		}
		back = 1 + uint64(min(float64(back)*(1.25*float64(n)+4)/max(have, .5), maxOffset/2))
	}
	return nil, 0, false, nil
}

// upTo reads the messages between two offsets. end is false if they are more than most, or than one answer can hold.
func (s span) upTo(ctx context.Context, from, to uint64, most int) (out []stored, end bool, err error) {
	for bytes := 0; len(out) < most && bytes < answerBytes; {
		page, err := s.next(ctx, from, most-len(out))
		if err != nil {
			return nil, false, err
		}
		for _, m := range page {
			if m.offset > to {
				return out, true, nil
			}
			out = append(out, m)
			bytes += m.size()
		}
		if len(page) == 0 || page[len(page)-1].pending == 0 {
			return out, true, s.whole(to)
		}
		from = page[len(page)-1].offset + 1
	}
	return out, false, nil
}

// guesses is the largest number of messages for which guess is used.
const guesses = 200

// guess does what backward does, but computes where to begin from the average distance of the messages. It reports false
// if their real distances differ too much from the average.
func (s span) guess(ctx context.Context, from, to uint64, n int, known broker.Retained) (out []stored, more, ok bool, err error) {
	low, high := max(from, known.Oldest), min(to, known.Newest)
	if known.Messages == 0 || low > high || n > guesses {
		return nil, false, false, nil
	}
	apart := float64(known.Newest-known.Oldest+1) / float64(known.Messages)
	out, start, ok, err := s.near(ctx, low, to, high, n, uint64(apart*(1.25*float64(n)+4)))
	if err != nil || !ok || len(out) == 0 {
		return nil, false, false, err
	}
	more = len(out) > n || start > low && from <= known.Oldest
	if !more && start > low {
		first, _, err := s.probe(ctx, from)
		if err != nil {
			return nil, false, false, err
		}
		more = first.offset < out[0].offset
	}
	out = out[max(len(out)-n, 0):]
	slices.Reverse(out)
	return out, more, true, nil
}

// seekAgain is how often backward begins further back because it found too few messages.
const seekAgain = 5

// backward reads the last n messages between two offsets, newest first. known is what the log had a moment ago, and saves
// a request.
func (s span) backward(ctx context.Context, from, to uint64, n int, known broker.Retained) (out []stored, more bool, err error) {
	out, more, ok, err := s.guess(ctx, from, to, n, known)
	if ok || err != nil {
		return out, more, err
	}
	first, total, err := s.probe(ctx, from)
	switch {
	case err != nil:
		return nil, false, err
	case total == 0:
		return nil, false, s.whole(to)
	case first.offset > to:
		return nil, false, nil
	}
	after := uint64(0)
	if to < maxOffset {
		if _, after, err = s.probe(ctx, to+1); err != nil {
			return nil, false, err
		}
	}
	if total < after {
		total = after
	}
	for want, again := uint64(n), 0; ; {
		start := first.offset
		if total-after > want {
			if start, err = s.seek(ctx, first.offset, to, total, after, want); err != nil {
				return nil, false, err
			}
		}
		// Messages that are published meanwhile lie above the upper bound, or are cut off below.
		all, dropped, enough, err := s.tail(ctx, start, to, int(want+want/4)+64)
		if err != nil {
			return nil, false, err
		}
		if !enough {
			want = max(min(want/2, uint64(len(all))), fewLarge)
			continue
		}
		more = start > first.offset || dropped
		if more && !dropped && len(all) < n && want >= uint64(n) && again < seekAgain {
			// Different replicas said how many messages follow the two bounds, so the reading began too close to the
			// upper one.
			want, again = 4*want, again+1
			continue
		}
		if len(all) > n {
			all, more = all[len(all)-n:], true
		}
		slices.Reverse(all)
		return all, more, nil
	}
}

// seek finds an offset from which between n and n + n/4 + 16 messages follow up to
// the bound, by interpolation and then by halving.
func (s span) seek(ctx context.Context, first, to, total, after, n uint64) (uint64, error) {
	low, lowRank := first, total
	// The upper bound may lie far above the newest message.
	newest, found, err := s.log.reader.newest(ctx, s.app.stream, s.subject)
	if err != nil {
		return 0, err
	}
	if !found {
		return first, nil
	}
	high := min(to, newest.offset)
	highRank := after
	for try := 0; try < 40 && high > low+1; try++ {
		target := after + n + n/8
		guess := low + (high-low)/2
		if try%2 == 0 && lowRank > highRank {
			guess = low + uint64(float64(high-low)*float64(lowRank-min(target, lowRank))/float64(lowRank-highRank))
		}
		guess = min(max(guess, low+1), high-1)
		_, rank, err := s.probe(ctx, guess)
		if err != nil {
			return 0, err
		}
		switch {
		case rank < after+n:
			high, highRank = guess, rank
		case rank > after+n+n/4+16:
			low, lowRank = guess, rank
		default:
			return guess, nil
		}
	}
	return low, nil
}
