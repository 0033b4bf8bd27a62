package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// aheadLife is for how long a run is given out after it was read. Whatever was removed from its
	// middle in the meantime is shown for that long.
	aheadLife = 2 * time.Second
	// aheadBytes bounds what all runs take, of which an app gets half, and aheadRuns how many there are.
	aheadBytes, aheadRuns = 16 << 20, 64
	// runBytes is about how much one of them takes.
	runBytes = 1 << 20
	// aheadMessages is how many messages are read at once for those who go on, where they lie close to
	// each other, and aheadPages how many of their pages.
	aheadMessages, aheadPages = 500, 5
	// messageBytes is about what a message takes in memory beside what [stored.size] counts: its headers
	// are a map.
	messageBytes = 1 << 10
	// aheadSteps is how many ends of pages are remembered.
	aheadSteps = 1024
)

// ahead remembers what was read ahead of those who page through channels. For each page the server
// counts what follows it, which takes longer than to read it, so one answer is made to do for
// several pages.
//
// A run is what the log has of a channel from one offset to another in one life. It may come from any
// copy of the log: a copy holds what its leader does up to where it is, and offsets only rise,
// so nothing comes to be between two messages that one answer had in a row. What may change is that
// messages are removed. Retention and purges remove the oldest ones, and whoever reads asks first
// which is the oldest, so nothing below that one is given. What is removed from the middle, by hand, is
// given for aheadLife. A run is no answer to where the log ends: its last message may have got a successor,
// so what is read onward ends before that, and a run that reaches beyond the newest message is of a log
// that lost its tail. A new life has other runs, by its epoch.
//
// Messages in runs are shared by all who read them, and never changed. The zero value is ready. It is
// safe for use by many goroutines.
type ahead struct {
	mu rank.Mutex[rank.StreamsAhead]
	// now is time.Now unless a test has another clock.
	now   func() time.Time
	runs  []*run // in the order in which they were read
	given uint64
	// forgotten counts how often something was forgotten.
	forgotten uint64
	// steps are where pages ended, each in a place of its own.
	steps [aheadSteps]step
}

// strand is a channel in one life of the log of an app.
type strand struct{ app, subject, epoch string }

// run is everything that a strand has from an offset up to the last one of its messages, of which there
// are some.
type run struct {
	strand
	from     uint64
	messages []stored
	bytes    int
	pace     pace
	read     time.Time
	// spent says that somebody was given its end, so that others are more likely to be asked for.
	spent bool
}

func (r *run) last() uint64 { return r.messages[len(r.messages)-1].offset }

// pace is how far apart the messages lie that somebody reads, and what they take in memory, on average. It
// is zero as far as that is not known.
type pace struct {
	apart float64
	size  int
}

// paceOf takes messages in either order.
func paceOf(messages []stored) pace {
	n, bytes := len(messages), 0
	if n == 0 {
		return pace{}
	}
	for i := range messages {
		bytes += messages[i].size() + messageBytes
	}
	low, high := messages[0].offset, messages[n-1].offset
	return pace{float64(max(low, high)-min(low, high)) / float64(max(n-1, 1)), bytes / n}
}

// step is where a page ended that others may follow.
type step struct {
	strand
	back   bool
	offset uint64
	pace   pace
	at     time.Time
}

// time is what the clock says. The lock is held.
func (a *ahead) time() time.Time {
	if a.now != nil {
		return a.now()
	}
	return time.Now()
}

// place is where a step is remembered. Messages of a stream have different offsets.
func (a *ahead) place(offset uint64) *step {
	return &a.steps[offset*0x9e3779b97f4a7c15>>54%aheadSteps]
}

// ended notes that a page ended with an offset and that there is more.
func (a *ahead) ended(l strand, back bool, offset uint64, p pace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	*a.place(offset) = step{l, back, offset, p, now}
}

// goesOn says whether a page ended with an offset a moment ago, and at which pace.
func (a *ahead) goesOn(l strand, back bool, offset uint64) (pace, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	s := a.place(offset)
	return s.pace, s.strand == l && s.back == back && s.offset == offset && now.Sub(s.at) < aheadLife
}

// ticket is from when something was about to be read.
type ticket struct {
	forgotten uint64
	at        time.Time
}

// begin is called before something is read ahead. It reports false if there is no room for it; room is
// not made by forgetting what others are about to be given.
func (a *ahead) begin(l strand, bytes int) (ticket, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	return ticket{a.forgotten, now}, a.fits(l.app, bytes, now)
}

// keep remembers messages, which are all that there is from an offset up to the last one of them. They
// are not kept if something was forgotten since they were about to be read, or if they have no room.
func (a *ahead) keep(l strand, from uint64, messages []stored, t ticket) {
	if len(messages) == 0 {
		return
	}
	r := &run{strand: l, from: from, messages: messages, pace: paceOf(messages), read: t.at}
	r.bytes = len(messages) * r.pace.size
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	if a.forgotten != t.forgotten || r.bytes > 4*runBytes {
		return
	}
	a.runs = slices.DeleteFunc(a.runs, func(o *run) bool { return o.strand == l && o.from >= from && o.last() <= r.last() })
	if a.fits(l.app, r.bytes, now) {
		a.runs = append(a.runs, r)
	}
}

// fits makes room for a run of an app, if that can be had from those that are too old or spent. The lock
// is held.
func (a *ahead) fits(app string, bytes int, now time.Time) bool {
	a.expire(now)
	for {
		all, own := a.sizes(app)
		crowded := own+bytes > aheadBytes/2
		if !crowded && all+bytes <= aheadBytes && len(a.runs) < aheadRuns {
			return true
		}
		i := slices.IndexFunc(a.runs, func(r *run) bool { return r.spent && (!crowded || r.app == app) })
		if i < 0 {
			return false
		}
		a.runs = slices.Delete(a.runs, i, i+1)
	}
}

func (a *ahead) sizes(app string) (all, own int) {
	for _, r := range a.runs {
		all += r.bytes
		if r.app == app {
			own += r.bytes
		}
	}
	return all, own
}

func (a *ahead) expire(now time.Time) {
	a.runs = slices.DeleteFunc(a.runs, func(r *run) bool { return now.Sub(r.read) >= aheadLife })
}

// sweep forgets what is too old, of all apps.
func (a *ahead) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	a.expire(now)
}

// forget forgets what is remembered of a subject, or everything if it is empty, and what is being read.
func (a *ahead) forget(subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgotten++
	a.runs = slices.DeleteFunc(a.runs, func(r *run) bool { return subject == "" || r.subject == subject })
}

// covering is the run that may be given to who knows what the log has, and that has the offset. The lock is
// held.
func (a *ahead) covering(l strand, offset uint64, known broker.Retained, now time.Time) *run {
	// The last one was read last.
	for _, r := range slices.Backward(a.runs) {
		if r.strand == l && r.from <= offset && offset <= r.last() && r.last() <= known.Newest && now.Sub(r.read) < aheadLife {
			return r
		}
	}
	return nil
}

// onward gives up to n messages from an offset on which are followed by another one. The number of those that
// are pending is only known not to be 0.
func (a *ahead) onward(l strand, from uint64, n int, known broker.Retained) ([]stored, pace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, now := max(from, known.Oldest), a.time()
	r := a.covering(l, from, known, now)
	if r == nil {
		return nil, pace{}
	}
	end := len(r.messages) - 1
	i := r.search(from)
	j := min(i+n, end)
	if j <= i {
		return nil, r.pace
	}
	r.spent = r.spent || j == end
	a.given += uint64(j - i)
	out := slices.Clone(r.messages[i:j])
	last := &out[len(out)-1]
	last.pending = max(last.pending, 1)
	return out, r.pace
}

// back gives the last n messages, oldest first, between two offsets of which the run may not have the lower
// one: between reach and the upper one there are no others. It reports false if it knows nothing of the upper
// one.
func (a *ahead) back(l strand, from, to uint64, n int, known broker.Retained) (got []stored, reach uint64, p pace, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, now := max(from, known.Oldest), a.time()
	r := a.covering(l, to, known, now)
	if r == nil {
		return nil, 0, pace{}, false
	}
	i, j := r.search(from), r.search(to+1)
	reach = max(r.from, from)
	if j-i > n {
		i = j - n
		reach = r.messages[i].offset
	}
	r.spent = r.spent || i == 0
	if j <= i {
		return nil, reach, r.pace, true
	}
	a.given += uint64(j - i)
	return slices.Clone(r.messages[i:j]), reach, r.pace, true
}

// search is the index of the first message at or above an offset.
func (r *run) search(offset uint64) int {
	i, _ := slices.BinarySearchFunc(r.messages, offset, func(m stored, o uint64) int {
		switch {
		case m.offset < o:
			return -1
		case m.offset > o:
			return 1
		}
		return 0
	})
	return i
}

// Ahead is what was read ahead of those who page through channels.
type Ahead struct {
	// Given is how many messages they were given of it since the log was opened, and Bytes about what is
	// in memory.
	Given uint64
	Bytes int
}

// Ahead may be called at any time from any goroutine.
func (l *Log) Ahead() Ahead {
	a := &l.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	all, _ := a.sizes("")
	return Ahead{a.given, all}
}
