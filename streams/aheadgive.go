package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// claim is that the log has a message at an offset that it stored at a time.
type claim struct {
	strand
	offset uint64
	time   time.Time
}

// valid says whether a run may be given to who knows what the log has. The lock is held.
func (r *run) valid(known broker.Retained, now time.Time) bool {
	return r.last() <= known.Newest && now.Sub(r.read) < aheadLife
}

// doubtful says whether a run is to be compared with the log, and takes that for done. The lock is held.
func (r *run) doubtful(now time.Time) (claim, bool) {
	if now.Sub(r.proven) < aheadProof {
		return claim{}, false
	}
	r.proven = now
	return claim{r.strand, r.last(), r.messages[len(r.messages)-1].pub.Time}, true
}

// found is what was read before. Somebody must prove what is claimed, if anything is, before it is believed.
type found struct {
	messages []stored // oldest first
	pace     pace
	claims   []claim
	// reach is down to where there are no others.
	reach uint64
}

// onward gives up to n messages from an offset on which are followed by another one. The number of those that
// are pending is only known not to be 0. It reports false if it knows nothing of the offset.
func (a *ahead) onward(l strand, from uint64, n int, known broker.Retained) (f found, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, now := max(from, known.Oldest), a.time()
	own := a.lines[l]
	for i := own.at(from); i >= 0 && len(f.messages) <= n; i++ {
		r := own[i]
		if !r.valid(known, now) {
			break
		}
		f.pace, ok = r.pace, true
		f.doubt(r, now)
		begin := r.search(from)
		end := min(begin+n+1-len(f.messages), len(r.messages))
		f.messages = append(f.messages, r.give(begin, end)...)
		r.used, r.spent = now, r.spent || end >= len(r.messages)-1
		if !own.joined(i) {
			break
		}
	}
	if len(f.messages) > 0 {
		f.messages = f.messages[:len(f.messages)-1]
	}
	if n := len(f.messages); n > 0 {
		f.messages[n-1].pending = 1
		a.given += uint64(n)
	}
	return f, ok
}

// back gives the last n messages between two offsets of which the runs may not have the lower
// one. It reports false if it knows nothing of the upper one.
func (a *ahead) back(l strand, from, to uint64, n int, known broker.Retained) (f found, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, now := max(from, known.Oldest), a.time()
	own := a.lines[l]
	var parts [][]stored
	count := 0
	for i := own.at(to); i >= 0; i-- {
		r := own[i]
		if !r.valid(known, now) {
			break
		}
		f.pace, ok = r.pace, true
		f.doubt(r, now)
		end := r.search(to + 1)
		begin := max(r.search(from), end-(n-count), 0)
		if begin < end {
			parts = append(parts, r.give(begin, end))
			count += end - begin
		}
		r.used, r.spent = now, r.spent || begin == 0
		if f.reach = max(r.from, from); count == n {
			f.reach = r.messages[begin].pub.Offset
			break
		}
		if r.from <= from || !own.joined(i-1) {
			break
		}
	}
	for _, p := range slices.Backward(parts) {
		f.messages = append(f.messages, p...)
	}
	a.given += uint64(count)
	return f, ok
}

// doubt notes what is to be proven before messages of a run are believed.
func (f *found) doubt(r *run, now time.Time) {
	if c, doubtful := r.doubtful(now); doubtful {
		f.claims = append(f.claims, c)
	}
}
