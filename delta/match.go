package delta

import (
	"encoding/binary"
	"math/bits"
)

const (
	// window is the number of bytes that a probe loads at once.
	window = 8
	// ahead is how far a changed field may reach before the search leaves the alignment. Between two
	// unchanged places there is nearly always a number or a short word.
	ahead = 48
	// near is the distance up to which a match at the present shift is taken without looking beside it.
	near = 16
	// drift is how many bytes a field may grow or shrink and still be found
	// without the index.
	drift = 3
	// patience is the number of misses in the index after which the search takes longer steps.
	patience = 128
)

// shifts is the order in which the places beside the alignment are tried.
var shifts = [2 * drift]int{1, -1, 2, -2, 3, -3}

// run is one copy: target[at:at+n] equals base[from:from+n].
type run struct{ at, from, n int }

func (r run) end() int { return r.at + r.n }

// matcher finds what target shares with base, as a list of runs; the text between runs is inserted. Both
// formats use it and differ only in their tariff.
//
// JSON messages of one kind differ in a few values, most of which keep their width. So the matcher first
// stays near the alignment: it compares eight bytes of the target with the base at the same place and up to
// three bytes beside it. It hashes the base only where this finds nothing, or so little that the alignment
// must be wrong.
type matcher struct {
	base, target []byte
	tariff       tariff
	runs         []run
	index        index
	// indexed is true once the index belongs to the present base.
	indexed bool
}

// match fills runs in the order of the target, without overlaps. It takes time
// linear in the lengths.
func (m *matcher) match(base, target []byte, t tariff) {
	m.base, m.target, m.tariff, m.indexed = base, target, t, false
	m.runs = m.runs[:0]
	prefix := common(base, target)
	if m.pays(prefix, 0, 0) {
		m.runs = append(m.runs, run{0, 0, prefix})
	} else {
		prefix = 0
	}
	suffix := commonEnd(base, target[prefix:])
	end := len(target) - suffix
	if !m.pays(suffix, len(base)-suffix, end-prefix) {
		suffix, end = 0, len(target)
	}
	m.target = target[:end]
	m.middle(prefix)
	if suffix > 0 {
		m.add(run{end, len(base) - suffix, suffix})
	}
	m.base, m.target = nil, nil
}

// middle matches the target from at on.
func (m *matcher) middle(at int) {
	shift := 0 // the place in the base less the one in the target
	var d doubt
	for len(m.target)-at >= window {
		r, ok := m.aligned(at, shift)
		if !ok {
			if r, ok = m.search(at, shift); !ok {
				return
			}
			d = doubt{}
		} else if d.note(m, at, r) {
			if q, ok := m.moved(at, shift, d.at, r); ok {
				m.retract(q.at)
				r, d = q, doubt{}
			} else {
				d.limit *= 2
			}
		}
		m.add(r)
		at, shift = r.end(), r.from-r.at
	}
}

// aligned looks for a run that begins at most ahead bytes after at, at the
// present shift or at most drift bytes beside it.
func (m *matcher) aligned(at, shift int) (run, bool) {
	stop := min(at+ahead, len(m.target)-window+1)
	best, ok := m.probe(at, stop, at, shift, m.tariff.mask)
	if ok && best.at-at <= near {
		return best, true
	}
	for _, by := range shifts {
		// A run elsewhere must begin earlier by more than it costs to leave
		// the alignment.
		if ok {
			stop = best.at - 3
		}
		if r, found := m.probe(at, stop, at, shift+by, m.tariff.maskBeside); found {
			best, ok = r, true
		}
	}
	return best, ok
}

// probe returns the first run that begins in target[t:stop] at that shift.
func (m *matcher) probe(t, stop, literal, shift int, mask uint64) (run, bool) {
	t = max(t, -shift)
	stop = min(stop, len(m.base)-shift-window+1)
	if t >= stop {
		return run{}, false
	}
	target, base := m.target[:stop+window-1], m.base[:stop+shift+window-1]
	for t < stop {
		x := (binary.LittleEndian.Uint64(target[t:]) ^ binary.LittleEndian.Uint64(base[t+shift:])) & mask
		if x == 0 {
			if r, ok := m.extend(t, t+shift, literal); ok {
				return r, true
			}
			t++
			continue
		}
		// No window that includes the last differing byte can match.
		t += window - bits.LeadingZeros64(x)>>3
	}
	return run{}, false
}

// extend extends the run through target[t] and base[f] in both directions and reports whether it pays. The
// target before literal is already covered.
func (m *matcher) extend(t, f, literal int) (run, bool) {
	n := common(m.base[f:], m.target[t:])
	back := 0
	for back < t-literal && back < f && m.base[f-back-1] == m.target[t-back-1] {
		back++
	}
	r := run{t - back, f - back, n + back}
	return r, m.pays(r.n, r.from, r.at-literal)
}

// add appends a run, or lengthens the last one if r continues it.
func (m *matcher) add(r run) {
	if k := len(m.runs); k > 0 {
		if last := &m.runs[k-1]; last.end() == r.at && last.from+last.n == r.from {
			last.n += r.n
			return
		}
	}
	m.runs = append(m.runs, r)
}

// retract removes what the runs cover from at on.
func (m *matcher) retract(at int) {
	k := len(m.runs)
	for k > 0 && m.runs[k-1].at >= at {
		k--
	}
	m.runs = m.runs[:k]
	if k == 0 {
		return
	}
	if last := &m.runs[k-1]; last.end() > at {
		if last.n = at - last.at; last.n < window {
			m.runs = m.runs[:k-1]
		}
	}
}
