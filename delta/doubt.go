package delta

import "encoding/binary"

const (
	// trouble is the balance of bytes spent on changes, less what the copies between them save, that raises
	// doubt.
	trouble = 32
	// small is the size of texts in which a wrong alignment cannot cost much.
	small = 512
	// strong is the length of a match that proves that text has moved.
	strong = 32
	// before and after bound the part of the base around the alignment in which moved text is searched.
	before, after = 128, 384
	// farBefore and farAfter bound it when the alignment is lost.
	farBefore, farAfter = 1024, 3072
	// reach is how far the target is searched against that part.
	reach = 512
)

// doubt is the suspicion that the alignment is wrong although it yields copies. After an element was added to
// a list or removed from it, different elements are aligned. They share their member names, so the search
// beside the alignment continues to succeed: it copies names and inserts all values.
type doubt struct {
	// spent is the balance so far, limit the balance that raises doubt.
	spent, limit int
	// at is the place in the target where the balance was last zero.
	at int
}

// note takes into account a run that follows the literal text from at on. It reports whether the right
// alignment should be searched now.
func (d *doubt) note(m *matcher, at int, r run) bool {
	if d.spent == 0 {
		d.at, d.limit = at, trouble
		if len(m.target) < small {
			d.limit = 2 * trouble
		}
	}
	d.spent = max(0, d.spent+r.at-at+4-r.n/8)
	return d.spent >= d.limit
}

// moved searches near the alignment for the last inserted text, which spans from at to r.at. If this text
// belongs to a long match elsewhere that reaches at least as far as r, moved returns that match, beginning
// not before back.
func (m *matcher) moved(at, shift, back int, r run) (run, bool) {
	m.cover(at+shift-before, at+shift+after)
	for t, stop := max(back, at-4), min(max(at+4, r.at), at+16, len(m.target)-window+1); t < stop; t++ {
		x := binary.LittleEndian.Uint64(m.target[t:])
		f, ok := m.index.find(x)
		if !ok || f-t == shift || f-t == r.from-r.at || binary.LittleEndian.Uint64(m.base[f:]) != x {
			continue
		}
		if q, ok := m.extend(t, f, back); ok && q.n >= strong && q.end() >= r.end() {
			return q, true
		}
	}
	return run{}, false
}

// search looks for a run when there is none beside the alignment: first near it, then everywhere.
func (m *matcher) search(at, shift int) (run, bool) {
	m.cover(at+shift-farBefore, at+shift+farAfter)
	if r, ok := m.scan(at, min(at+reach, len(m.target))); ok {
		return r, true
	}
	rest := len(m.target) - at
	if rest < len(m.base)/64 {
		// Indexing the whole base would take too much time for so little text.
		return run{}, false
	}
	if rest <= reach && m.index.covers(m.base) {
		return run{}, false
	}
	m.cover(0, len(m.base))
	return m.scan(at, len(m.target))
}

// cover makes sure that base[lo:hi] is indexed.
func (m *matcher) cover(lo, hi int) {
	if !m.indexed {
		m.index.reset(len(m.base))
		m.indexed = true
	}
	m.index.cover(m.base, lo, hi)
}

// scan looks up the windows that begin in target[at:stop]. After many misses it skips bytes.
func (m *matcher) scan(at, stop int) (run, bool) {
	stop = min(stop, len(m.target)-window+1)
	misses := 0
	for t := at; t < stop; t += 1 + misses/patience {
		x := binary.LittleEndian.Uint64(m.target[t:])
		if f, ok := m.index.find(x); ok && binary.LittleEndian.Uint64(m.base[f:]) == x {
			if r, ok := m.extend(t, f, at); ok {
				return r, true
			}
		}
		misses++
	}
	return run{}, false
}
