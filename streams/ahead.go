package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// aheadLife is for how long a run is given out after it was read. Whatever was removed from its
	// middle in the meantime is shown for that long.
	aheadLife = time.Minute
	// aheadIdle is for how long a run is kept that nobody asks for, and aheadProof for how long it is taken for
	// granted that its messages are still those of the log.
	aheadIdle, aheadProof = 10 * time.Second, 2 * time.Second
	// aheadBytes bounds what all runs take, unless the options say something else, and aheadRuns how many there are.
	// An app that has more than half of it makes room for others.
	aheadBytes, aheadRuns = 64 << 20, 1024
	// runBytes is about how much one of them takes.
	runBytes = 1 << 20
	// aheadMessages is how many messages are read at once for those who go on, where they lie close to
	// each other, and aheadPages how many of their pages.
	aheadMessages, aheadPages = 500, 5
	// messageBytes is about what a message takes in memory beside its texts.
	messageBytes = 352
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
// A log that lost its tail may have stored others at the same offsets, before anybody noticed: every aheadProof
// the last message of a run is compared with the one that the log has there, see [claim].
//
// Publications of runs are shared by all who read them, and never changed. The zero value
// keeps nothing. It is safe for use by many goroutines.
type ahead struct {
	mu rank.Mutex[rank.StreamsAhead]
	// now is time.Now unless a test has another clock.
	now   func() time.Time
	lines map[strand]runs
	// room is what all runs may take.
	room int
	// bytes and number are those of all runs, and of each app that has some.
	bytes, number int
	apps          map[string]int
	given         uint64
	// forgotten counts how often something was forgotten.
	forgotten uint64
	// steps are where pages ended, each in a place of its own.
	steps [aheadSteps]step
}

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
	return s.pace, s.strand == l && s.back == back && s.offset == offset && now.Sub(s.at) < aheadProof
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

// weigh counts what there is. The lock is held.
func (a *ahead) weigh() {
	a.bytes, a.number, a.apps = 0, 0, map[string]int{}
	for _, l := range a.lines {
		for _, r := range l {
			a.bytes, a.number = a.bytes+r.bytes, a.number+1
			a.apps[r.app] += r.bytes
		}
	}
}

// drop forgets the runs that are named. The lock is held.
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

// expire forgets what is too old, or lay idle for too long. The lock is held.
func (a *ahead) expire(now time.Time) {
	a.drop(func(r *run) bool { return now.Sub(r.read) >= aheadLife || now.Sub(r.used) >= aheadIdle })
}

// fits makes room for a run of an app, if that can be had from those that may go. The lock is held.
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

// leastUsed is the run that was not given out for longest, of those that may go for one of an app: any that was not
// given out for a moment, those of the app itself that are spent, and those of one that has more than half of
// everything, for others who have less. What others are about to be given stays. The lock is held.
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

// sweep forgets what is too old, of all apps.
func (a *ahead) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(a.time())
}

// forget forgets what is remembered of a subject, or everything if it is empty, and what is being read.
func (a *ahead) forget(subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgotten++
	a.drop(func(r *run) bool { return subject == "" || r.subject == subject })
}

// refute forgets a strand that is not as it was remembered, and what is being read.
func (a *ahead) refute(l strand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgotten++
	a.drop(func(r *run) bool { return r.strand == l })
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
	return Ahead{a.given, a.bytes}
}
