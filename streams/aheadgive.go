package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// claim states that the log has a message of a strand at offset, which it stored at time.
type claim struct {
	strand
	offset uint64
	time   time.Time
}

// valid reports whether a run may be used, given what the log is known to have. The caller holds mu.
func (r *run) valid(known broker.Retained, now time.Time) bool {
	return r.last() <= known.Newest && now.Sub(r.read) < aheadLife
}

// doubtful reports whether a run must be compared with the log, with the claim to verify. It counts the comparison as
// done. The caller holds mu.
func (r *run) doubtful(now time.Time) (claim, bool) {
	if now.Sub(r.proven) < aheadProof {
		return claim{}, false
	}
	r.proven = now
	return claim{r.strand, r.last(), r.messages[len(r.messages)-1].pub.Time}, true
}

// found is the result of a lookup in the cache. The caller must verify its claims before it uses the messages.
type found struct {
	messages []stored // oldest first
	pace     pace
	claims   []claim
	// reach is the offset down to which messages is complete.
	reach uint64
}

// onward returns up to n cached messages from an offset on. It leaves out the last cached one, so that every returned
// message has a successor; pending of the last one is 1, meaning "some". It reports false if the offset is not cached.
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

// back returns up to n cached messages, the last ones between two offsets. They may not reach down to the lower one, see
// reach. It reports false if the upper offset is not cached.
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

// doubt adds the claim of a run if the run must be compared with the log.
func (f *found) doubt(r *run, now time.Time) {
	if c, doubtful := r.doubtful(now); doubtful {
		f.claims = append(f.claims, c)
	}
}
