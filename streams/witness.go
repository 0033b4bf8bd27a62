package streams

import (
	"context"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// mark is a place in the log that was seen: by its message, or only by its offset if
// time is zero. As long as the log lives it either still has that message or removed
// it by retention; whatever else it says there, it lost what it once had.
type mark struct {
	subject string
	offset  uint64
	time    time.Time
}

// fate is what became of a mark.
type fate uint8

const (
	// kept: the log has the message.
	kept fate = iota
	// removed: the log has been beyond it and has it no more. Retention does that.
	removed
	// lost: the log ends before it, or has given its offset to another message. It was
	// restored to an older state, or its servers came back without its tail.
	lost
)

// witness remembers what one life of an app's log is known to have held, so that a tail
// that was lost is noticed before what follows is taken for its continuation. It is
// safe for use by many goroutines.
type witness struct {
	// high is the highest offset that was delivered or acknowledged here.
	high atomic.Uint64
	// newest are offsets that were delivered, each in a place of its own.
	newest [1024]atomic.Uint64
	// placed are those that were delivered in the channels of their subjects, as sums of both.
	placed [256]atomic.Uint64

	horizon horizon

	mu    rank.Mutex[rank.StreamsWitness]
	marks []mark
}

// maxMarks bounds what waits to be looked up. Each is of another time at which a
// connection broke.
const maxMarks = 16

// saw notes an offset. It costs a load where several channels take turns.
func (w *witness) saw(offset uint64) {
	for {
		have := w.high.Load()
		if offset <= have || w.high.CompareAndSwap(have, offset) {
			return
		}
	}
}

// gave notes an offset that was delivered, in the channel of a subject.
func (w *witness) gave(offset uint64, subject string) {
	w.saw(offset)
	w.newest[offset%uint64(len(w.newest))].Store(offset)
	w.placed[offset%uint64(len(w.placed))].Store(placeSum(offset, subject))
}

// inPlace says whether a message is one of those that were delivered last, in the channel of its
// subject. That it is not says nothing.
func (w *witness) inPlace(offset uint64, subject string) bool {
	return w.placed[offset%uint64(len(w.placed))].Load() == placeSum(offset, subject)
}

var placeSeed = maphash.MakeSeed()

// placeSum is another number for every offset and subject, but for one pair in 2^63, and not 0.
func placeSum(offset uint64, subject string) uint64 {
	const spread = 0x9e3779b97f4a7c15 // the golden ratio, as offsets come in a row
	return (maphash.String(placeSeed, subject) ^ offset*spread) | 1
}

// delivered says whether an offset is one of those that were delivered last. That it is not
// says nothing.
func (w *witness) delivered(offset uint64) bool {
	return w.newest[offset%uint64(len(w.newest))].Load() == offset
}

// stored notes the offset of an acknowledgement, which may be late: only if the life in
// which it was asked for goes on, and at one moment with that. The next life begins with
// restart after the epoch has changed; noted there, an offset of before would look like
// another lost tail.
func (w *witness) stored(offset uint64, goesOn func() bool) {
	if offset <= w.high.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if goesOn() {
		w.saw(offset)
	}
}

// keep adds marks that must be looked up before they can be forgotten.
func (w *witness) keep(marks ...mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range marks {
		if m.offset > 0 && len(w.marks) < maxMarks && !slices.Contains(w.marks, m) {
			w.marks = append(w.marks, m)
		}
	}
}

func (w *witness) pending() []mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.marks)
}

// settled forgets marks that were looked up.
func (w *witness) settled(done []mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks = slices.DeleteFunc(w.marks, func(m mark) bool { return slices.Contains(done, m) })
}

// restart begins with another life that reaches up to an offset.
func (w *witness) restart(end uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks = nil
	w.high.Store(end)
	for i := range w.newest {
		w.newest[i].Store(0)
	}
	for i := range w.placed {
		w.placed[i].Store(0)
	}
}

// disconnected remembers what each log held when a connection broke. Whatever server
// answers next may have been restored meanwhile, and may already hold newer messages
// when it is asked for the first time.
func (l *Log) disconnected() {
	for _, a := range l.apps.All() {
		var newest mark
		for _, f := range l.followers(a) {
			if m := f.seen(); m.offset > newest.offset {
				newest = m
			}
		}
		a.known.keep(newest, mark{offset: a.known.high.Load()})
	}
}

// confirmPause lies between two looks at a log that seems to be too short.
const confirmPause = 250 * time.Millisecond

// fateOf asks the leader of a stream what became of a mark.
func (l *Log) fateOf(ctx context.Context, a *appLog, m mark) (fate, error) {
	for try := 0; ; try++ {
		got, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{Seq: m.offset})
		switch {
		case err != nil:
			return 0, err
		case found && (m.time.IsZero() || got.subject == m.subject && got.time.Equal(m.time)):
			return kept, nil
		case found:
			return lost, nil
		}
		info, err := l.streamInfo(ctx, a)
		switch {
		case err != nil:
			return 0, err
		case info.State.LastSeq >= m.offset:
			return removed, nil
		case try > 0:
			return lost, nil
		}
		// A leader answers after it has caught up. All subscribers are told if it
		// did not, so it is asked twice.
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(confirmPause):
		}
	}
}

// anyLost asks what became of marks until one is lost.
func (l *Log) anyLost(ctx context.Context, a *appLog, marks []mark) (bool, error) {
	for _, m := range marks {
		if what, err := l.fateOf(ctx, a, m); err != nil || what == lost {
			return err == nil, err
		}
	}
	return false, nil
}
