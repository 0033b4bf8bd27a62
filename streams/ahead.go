package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// aheadLife is how long a run is used after it was read. Messages that were removed from its middle meanwhile are
	// still shown for that long.
	aheadLife = time.Minute
	// aheadIdle is how long an unused run is kept. aheadProof is how long after a comparison with the log a run is used
	// without another one.
	aheadIdle, aheadProof = 10 * time.Second, 2 * time.Second
	// aheadBytes is the default bound of the memory of all runs, and aheadRuns bounds their number. Runs of an app that
	// uses more than half of the memory are removed to make room for other apps.
	aheadBytes, aheadRuns = 64 << 20, 1024
	// runBytes is about the size of one run.
	runBytes = 1 << 20
	// aheadMessages and aheadPages bound one reading ahead, in messages and in pages of the reader. Fewer are read if
	// the messages of the channel lie far apart in the stream.
	aheadMessages, aheadPages = 500, 5
	// messageBytes is about the memory of a message without its texts.
	messageBytes = 352
	// aheadSteps is the number of page ends that are remembered.
	aheadSteps = 1024
)

// ahead caches messages that were read ahead for clients that page through channels. For each page the server also
// counts the messages that follow it, which takes longer than reading the page. So one answer serves several pages.
//
// A run holds everything that the log has of a channel from one offset to another, in one epoch. It may come from any
// replica: a replica holds what its leader holds up to some offset, and offsets only rise, so no message can appear
// later between two that one answer had in a row. Messages can only be removed. Retention and purges remove the oldest
// ones; every reader first asks which message is the oldest, and gets nothing below it. A message that was removed from
// the middle by hand is still given for aheadLife. A run does not tell where the log ends, because its last message may
// have a successor by now. So reading onward ends before the last message of a run. A run that reaches beyond the
// newest message of the log comes from a log that has lost its tail. Runs of different epochs are separate.
//
// A log that lost its tail may have stored other messages at the same offsets before this was noticed. Therefore the
// last message of a run is compared with the log every aheadProof, see [claim].
//
// All readers share the publications of runs, and must not change them. The zero value keeps nothing. Safe for
// concurrent use.
type ahead struct {
	mu rank.Mutex[rank.StreamsAhead]
	// now is the clock; nil means time.Now.
	now   func() time.Time
	lines map[strand]runs
	// room bounds the memory of all runs, in bytes.
	room int
	// bytes and number are totals of all runs. apps has the bytes of each app.
	bytes, number int
	apps          map[string]int
	given         uint64
	// forgotten counts the calls of forget and refute.
	forgotten uint64
	// steps is a hash table of page ends by offset. A newer one replaces an older one in the same slot.
	steps [aheadSteps]step
}

// pace is the average distance of the messages of a reader in the stream, and their average size in memory. Unknown
// values are zero.
type pace struct {
	apart float64
	size  int
}

// paceOf computes the pace of messages, which may be in either order.
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

// step is the end of a page that may be followed by another page.
type step struct {
	strand
	back   bool
	offset uint64
	pace   pace
	at     time.Time
}

// time returns the present time. The caller holds mu.
func (a *ahead) time() time.Time {
	if a.now != nil {
		return a.now()
	}
	return time.Now()
}

// place returns the slot of an offset.
func (a *ahead) place(offset uint64) *step {
	return &a.steps[offset*0x9e3779b97f4a7c15>>54%aheadSteps]
}

// ended records that a page ended at an offset and that there is more.
func (a *ahead) ended(l strand, back bool, offset uint64, p pace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	*a.place(offset) = step{l, back, offset, p, now}
}

// goesOn reports whether a page ended at an offset a moment ago, and returns its pace.
func (a *ahead) goesOn(l strand, back bool, offset uint64) (pace, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	s := a.place(offset)
	return s.pace, s.strand == l && s.back == back && s.offset == offset && now.Sub(s.at) < aheadProof
}

// ticket is the state before a reading.
type ticket struct {
	forgotten uint64
	at        time.Time
}

// begin must be called before a reading ahead. It reports false if there is no room. It does not make room by removing
// runs that other readers are about to use.
func (a *ahead) begin(l strand, bytes int) (ticket, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.time()
	return ticket{a.forgotten, now}, a.fits(l.app, bytes, now)
}

// keep stores messages as a run. They must be all messages of the channel from offset from to the last of them. They
// are not kept if anything was forgotten since t, or if there is no room.
func (a *ahead) keep(l strand, from uint64, messages []stored, t ticket) {
	if len(messages) == 0 {
		return
	}
	r := newRun(l, from, messages, t.at)
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := a.time(); a.forgotten != t.forgotten || r.bytes > 4*runBytes || !a.fits(l.app, r.bytes, now) {
		return
	}
	if a.lines == nil {
		a.lines = map[strand]runs{}
	}
	a.lines[l] = a.lines[l].with(r)
	a.weigh()
}

// weigh computes the totals. The caller holds mu.
func (a *ahead) weigh() {
	a.bytes, a.number, a.apps = 0, 0, map[string]int{}
	for _, l := range a.lines {
		for _, r := range l {
			a.bytes, a.number = a.bytes+r.bytes, a.number+1
			a.apps[r.app] += r.bytes
		}
	}
}

// drop removes the runs for which named is true. The caller holds mu.
func (a *ahead) drop(named func(r *run) bool) {
	before, after := a.number, 0
	for s, l := range a.lines {
		if l = slices.DeleteFunc(l, named); len(l) == 0 {
			delete(a.lines, s)
		} else {
			a.lines[s] = l
		}
		after += len(l)
	}
	if after != before {
		a.weigh()
	}
}

// expire removes runs that are too old or were not used for too long. The caller holds mu.
func (a *ahead) expire(now time.Time) {
	a.drop(func(r *run) bool { return now.Sub(r.read) >= aheadLife || now.Sub(r.used) >= aheadIdle })
}

// fits makes room for a run of an app, and reports false if it cannot. The caller holds mu.
func (a *ahead) fits(app string, bytes int, now time.Time) bool {
	a.expire(now)
	for a.bytes+bytes > a.room || a.number >= aheadRuns {
		least := a.leastUsed(app, bytes, now)
		if least == nil {
			return false
		}
		a.drop(func(r *run) bool { return r == least })
	}
	return true
}

// leastUsed returns the least recently used run that may be removed for a run of an app, or nil. These may be removed:
// runs that were not used for aheadProof, spent runs of the same app, and, for an app that uses less than half of the
// memory, runs of an app that uses more than half. Other runs are about to be used. The caller holds mu.
func (a *ahead) leastUsed(app string, bytes int, now time.Time) (least *run) {
	modest := a.apps[app]+bytes <= a.room/2
	for _, l := range a.lines {
		for _, r := range l {
			may := now.Sub(r.used) >= aheadProof || r.spent && r.app == app || modest && a.apps[r.app] > a.room/2
			if may && (least == nil || r.used.Before(least.used)) {
				least = r
			}
		}
	}
	return least
}

// sweep removes expired runs.
func (a *ahead) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(a.time())
}

// forget removes the runs of a subject, or all runs if it is empty. Messages that are being read are not kept either.
func (a *ahead) forget(subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgotten++
	a.drop(func(r *run) bool { return subject == "" || r.subject == subject })
}

// refute removes the runs of a strand that differ from the log. Messages that are being read are not kept either.
func (a *ahead) refute(l strand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgotten++
	a.drop(func(r *run) bool { return r.strand == l })
}

// Ahead are statistics of what was read ahead for clients that page through channels.
type Ahead struct {
	// Given is the number of messages that were served from memory since the log was opened. Bytes is about the memory
	// in use.
	Given uint64
	Bytes int
}

// Ahead returns the present statistics. Safe for concurrent use.
func (l *Log) Ahead() Ahead {
	a := &l.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	return Ahead{a.given, a.bytes}
}
