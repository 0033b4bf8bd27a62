package streams

import (
	"context"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// mark is a message that the log is known to have held, identified by offset, subject and time, or only by its offset
// if time is zero. Within one epoch, the log either still has the message or has removed it by retention. If it has
// anything else at that offset, it has lost data.
type mark struct {
	subject string
	offset  uint64
	time    time.Time
}

// fate is the result of looking up a mark.
type fate uint8

const (
	// kept: the log has the message.
	kept fate = iota
	// removed: the log has newer messages and no longer has this one, as after retention.
	removed
	// lost: the log ends before the offset, or has another message there. The log was restored to an older state, or
	// its servers came back without its tail.
	lost
)

// witness remembers what the log of an app is known to have held in the present epoch. So a lost tail is noticed
// before new messages are taken for its continuation. Safe for concurrent use.
type witness struct {
	// high is the highest offset that was delivered or acknowledged here.
	high atomic.Uint64
	// newest holds the last delivered offsets, each at index offset % len.
	newest [1024]atomic.Uint64
	// placed holds hashes of offset and subject of the last messages that were delivered in their channels, each at
	// index offset % len.
	placed [256]atomic.Uint64

	horizon horizon

	mu    rank.Mutex[rank.StreamsWitness]
	marks []mark
}

// maxMarks bounds the marks that wait to be looked up. Each broken connection adds some.
const maxMarks = 16

// saw records an offset that was delivered or acknowledged. If it is not the highest, this costs one atomic load.
func (w *witness) saw(offset uint64) {
	for {
		have := w.high.Load()
		if offset <= have || w.high.CompareAndSwap(have, offset) {
			return
		}
	}
}

// gave records an offset that was delivered in the channel of subject.
func (w *witness) gave(offset uint64, subject string) {
	w.saw(offset)
	w.newest[offset%uint64(len(w.newest))].Store(offset)
	w.placed[offset%uint64(len(w.placed))].Store(placeSum(offset, subject))
}

// inPlace reports whether a message is one of the last that were delivered in the channel of subject. If it is false,
// the message may have been delivered earlier or not at all.
func (w *witness) inPlace(offset uint64, subject string) bool {
	return w.placed[offset%uint64(len(w.placed))].Load() == placeSum(offset, subject)
}

var placeSeed = maphash.MakeSeed()

// placeSum hashes an offset and a subject. The result is never 0, and two pairs collide with a probability of 2^-63.
func placeSum(offset uint64, subject string) uint64 {
	const spread = 0x9e3779b97f4a7c15 // the golden ratio, as offsets come in a row
	return (maphash.String(placeSeed, subject) ^ offset*spread) | 1
}

// delivered reports whether an offset is one of the last that were delivered. If it is false, the offset may have been
// delivered earlier or not at all.
func (w *witness) delivered(offset uint64) bool {
	return w.newest[offset%uint64(len(w.newest))].Load() == offset
}

// stored records the offset of an acknowledgement, which may arrive late. It does so only if goesOn reports that the
// epoch of the request still is the present one. Both happen under the lock that restart takes, because an offset of
// an earlier epoch, recorded in the next one, would look like another lost tail.
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

// keep adds marks. They stay until they have been looked up.
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

// settled removes marks that were looked up.
func (w *witness) settled(done []mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks = slices.DeleteFunc(w.marks, func(m mark) bool { return slices.Contains(done, m) })
}

// restart begins a new epoch, in which the log ends at offset end.
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

// disconnected records what each log held when a connection broke. The server that answers next may have been restored
// from older data, and may already hold newer messages when it is asked for the first time.
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

// confirmPause is the time between two looks at a log that seems to be too short.
const confirmPause = 250 * time.Millisecond

// fateOf looks up a mark at the leader of the stream.
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
		// A leader should answer only after it has caught up. A loss is reported to all subscribers, so the leader is
		// asked twice to be sure.
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(confirmPause):
		}
	}
}

// anyLost looks up marks until one is lost, and reports whether one is.
func (l *Log) anyLost(ctx context.Context, a *appLog, marks []mark) (bool, error) {
	for _, m := range marks {
		if what, err := l.fateOf(ctx, a, m); err != nil || what == lost {
			return err == nil, err
		}
	}
	return false, nil
}
