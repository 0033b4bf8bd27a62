package streams

import (
	"bytes"
	"context"
	"slices"
	"sort"

	"github.com/sluicehq/sluice/broker"
)

// walk reads one page for a reader that may continue from page to page.
type walk struct {
	span
	of strand
	// limit is the number of messages that the reader asks for.
	limit int
	// goesOn says that the reader continues after an earlier page. pace is that of the earlier page.
	goesOn bool
	pace   pace
}

// walk begins to read a page of up to n messages. If an earlier page ended at one of the places, the reader continues
// after it.
func (s span) walk(n int, back bool, places ...uint64) *walk {
	w := &walk{span: s, of: strand{s.app.opt.ID, s.subject, s.known.Epoch}, limit: n}
	for _, offset := range places {
		if w.knows() && !w.goesOn {
			w.pace, w.goesOn = s.log.ahead.goesOn(w.of, back, offset)
		}
	}
	return w
}

// knows reports whether it is known what the log has in the present epoch. Otherwise cached messages are not used.
func (w *walk) knows() bool { return w.known.Messages > 0 && w.app.currentEpoch() == w.known.Epoch }

// ended records where a page ended that is followed by more.
func (w *walk) ended(back bool, out []stored) {
	if n := len(out); n > 0 && w.knows() {
		w.log.ahead.ended(w.of, back, out[n-1].offset, paceOf(out))
	}
}

// count returns how many messages to read ahead for a reader that continues. within is the number of offsets that are
// left. It reports false if that is not more than the reader wants, or if there is no room.
func (w *walk) count(want int, within uint64) (n int, t ticket, ok bool) {
	if !w.goesOn || w.pace.size == 0 || !w.knows() {
		return 0, t, false
	}
	apart := max(w.pace.apart, w.apart, 1)
	n = min(aheadMessages, aheadPages*w.limit, runBytes/w.pace.size)
	n = min(n, max(int(passed/apart), pageSize))
	if within < uint64(n) {
		n = int(within)
	}
	if n <= want {
		return 0, t, false
	}
	t, ok = w.log.ahead.begin(w.of, n*w.pace.size)
	return n, t, ok
}

// read reads n messages from an offset on, and caches them if there are more than wanted. The publications of cached
// messages are shared.
func (w *walk) read(ctx context.Context, from uint64, n, want int, t ticket) ([]stored, error) {
	got, err := w.log.reader.page(ctx, w.app.stream, w.subject, from, n)
	if err == nil && len(got) > want && w.knows() {
		for i, p := range w.publications(got, w.of.epoch) {
			// The clones let the received message, with the text of its headers, be freed.
			p.Data, p.Extras = bytes.Clone(p.Data), bytes.Clone(p.Extras)
			m := &got[i]
			m.pub, m.bytes, m.header, m.data = p, m.size(), nil, nil
		}
		w.log.ahead.keep(w.of, from, got, t)
	}
	return got, err
}

// proven reports whether the log has what the claims state. If not, or if the log cannot be read, it removes the strand
// from the cache.
func (w *walk) proven(ctx context.Context, claims []claim) bool {
	for _, c := range claims {
		got, err := w.log.reader.fetch(ctx, w.app.stream, getRequest{Seq: c.offset})
		if err != nil || len(got) != 1 || got[0].subject != c.subject || !got[0].time.Equal(c.time) {
			w.log.ahead.refute(c.strand)
			return false
		}
	}
	return true
}

// onward is [span.next] with reading ahead and the cache. The messages are shared.
func (w *walk) onward(ctx context.Context, from, to uint64, want int) ([]stored, error) {
	if w.knows() {
		if f, ok := w.log.ahead.onward(w.of, from, want, w.known); ok && w.proven(ctx, f.claims) {
			if w.goesOn, w.pace = true, f.pace; len(f.messages) > 0 {
				return f.messages, nil
			}
		}
	}
	n, t, ok := w.count(min(want, w.page), to-from+2)
	if !ok {
		return w.next(ctx, from, want)
	}
	got, err := w.read(ctx, from, n, want, t)
	return got[:min(len(got), want)], err
}

// backward is [span.backward] with reading ahead and the cache.
func (w *walk) backward(ctx context.Context, from, to uint64, n int) (out []stored, more bool, err error) {
	if !w.knows() {
		return w.further(ctx, from, to, n)
	}
	f, ok := w.log.ahead.back(w.of, from, to, n+1, w.known)
	if !ok || !w.proven(ctx, f.claims) {
		return w.further(ctx, from, to, n)
	}
	w.goesOn, w.pace = true, f.pace
	got := f.messages
	slices.Reverse(got)
	switch {
	case len(got) > n:
		return got[:n], true, nil
	case f.reach <= max(from, w.known.Oldest):
		return got, false, nil
	}
	// The rest lies below. Even if nothing is missing, it must be known whether there is more.
	older, more, err := w.backward(ctx, from, f.reach-1, max(n-len(got), 1))
	if err != nil {
		return nil, false, err
	}
	if len(got) == n {
		return got, len(older) > 0, nil
	}
	out = append(got, older...)
	bytes := 0
	for i := range out {
		if bytes += out[i].size(); bytes > broker.PageBytes && i > 0 {
			return out[:i], true, nil
		}
	}
	return out, more, nil
}

// further reads backwards more than is asked for, if the next pages will probably be asked for. It does so only if one
// reading finds the present page as well.
func (w *walk) further(ctx context.Context, from, to uint64, n int) (out []stored, more bool, err error) {
	low := max(from, w.known.Oldest)
	if low > to {
		return w.span.backward(ctx, from, to, n, w.known)
	}
	count, t, ok := w.count(n+n/4+2, to-low+2)
	if !ok {
		return w.span.backward(ctx, from, to, n, w.known)
	}
	// Messages come in clusters: the earlier ones may be as dense as the last ones, or as the channel on average.
	for _, apart := range slices.Compact([]float64{max(w.pace.apart, 1), max(w.pace.apart, w.apart, 1)}) {
		start := low
		// The range is a little smaller than the average says, in case the messages are denser.
		if back := uint64(apart * float64(count-count/5-2)); to-low > back {
			start = to - back
		}
		got, err := w.read(ctx, start, count, 0, t)
		if err != nil {
			return nil, false, err
		}
		end := sort.Search(len(got), func(i int) bool { return got[i].offset > to })
		// A replica that is behind may end below the upper offset.
		if end == len(got) && (end == 0 || got[end-1].offset < to) {
			break
		}
		if end > n || start == low {
			out = slices.Clone(got[max(end-n, 0):end])
			slices.Reverse(out)
			return out, end > n, nil
		}
	}
	return w.span.backward(ctx, from, to, n, w.known)
}
