package count_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/gateway/count"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMachineAgreesWithWhoCountedFromTheBeginning: a machine starts late, its feed is late, its lookups fail
// or come from a replica that is behind, and its feed loses events that can be read again. Whenever it counts
// with the cluster, it decides like a count of the whole log, and no checkpoint of such a count contradicts
// it.
func TestMachineAgreesWithWhoCountedFromTheBeginning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{now: start}
		w.twin = naive{n: rapid.IntRange(2, 5).Draw(t, "n"), most: rapid.IntRange(1, 4).Draw(t, "max values"), idle: count.TTL / 2}
		w.m = count.NewMachine(count.Settings{Interval: w.twin.n, MaxValues: w.twin.most})
		for range rapid.IntRange(1, 30).Draw(t, "before") {
			w.publish(t)
		}
		w.fed = len(w.log)
		w.m.Lost(w.log[w.fed-1].Offset)
		w.asked(w.m.Join())
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2:
				w.publish(t)
			case 3, 4, 5, 6:
				w.feed(t)
			case 7:
				w.answer(t)
			case 8:
				w.hear(t)
			case 9:
				w.disturb(t)
			}
		}
		if w.looks && w.m.State() != count.Looking && w.m.State() != count.Alone {
			t.Fatalf("the count is looked up in state %d", w.m.State())
		}
	})
}

// world is the log of one channel, a twin that has counted it, and a machine that counts it.
type world struct {
	m        *count.Machine
	twin     naive
	now      time.Time
	log      []count.Publication
	verdicts []bool
	states   []count.Snapshot
	// fed is the number of publications given to the machine; looks is set while it waits for an answer.
	fed   int
	looks bool
	// from is the offset of the checkpoint from which it counts.
	from, revision uint64
}

func (w *world) moment() count.Moment { return count.Moment{Here: w.now, Log: w.now} }

func (w *world) publish(t *rapid.T) {
	p := count.Publication{Offset: uint64(rapid.IntRange(1, 3).Draw(t, "step")), Value: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "value"), Plain: rapid.IntRange(0, 3).Draw(t, "plain") == 0}
	if n := len(w.log); n > 0 {
		p.Prev = w.log[n-1].Offset
		p.Offset += p.Prev
	}
	w.now = w.now.Add(rapid.SampledFrom([]time.Duration{0, time.Second, time.Second, time.Minute, 3 * time.Minute}).Draw(t, "pause"))
	p.Time = w.now
	w.log = append(w.log, p)
	w.verdicts = append(w.verdicts, w.twin.step(p.Offset, p.Prev, p.Time, true, p.Value, p.Plain))
	w.states = append(w.states, w.twin.snapshot())
}

// asked records the requests of the machine.
func (w *world) asked(e count.Effect) {
	w.looks = w.looks || e&(count.LookUp|count.LookUpSoon) != 0
	if e&count.Save != 0 {
		w.m.Unsaved()
	}
}

func (w *world) feed(t *rapid.T) {
	if w.fed == len(w.log) {
		return
	}
	i := w.fed
	w.fed++
	ahead := w.m.Ahead(0)
	full, e := w.m.Publication(w.log[i], w.now)
	w.asked(e)
	switch w.m.State() {
	case count.Looking:
		if !full && !w.log[i].Plain {
			t.Fatalf("publication %d is a delta while nobody knows the count", i)
		}
	case count.Counting:
		// A publication that the checkpoint includes is sent in full, and the first subscriber waits for it.
		// A plain publication has no form.
		if counted := w.log[i].Offset <= w.from; !w.log[i].Plain && full != (w.verdicts[i] || counted) || counted && !ahead {
			t.Fatalf("publication %d: full is %v, want %v; counted already: %v, told: %v", i, full, w.verdicts[i], counted, ahead)
		}
	}
}

// answer completes a lookup, perhaps with a log that lacks the newest publications.
func (w *world) answer(t *rapid.T) {
	if !w.looks {
		return
	}
	w.looks = false
	if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
		w.m.Unanswered(w.now)
		return
	}
	at := rapid.IntRange(0, len(w.log)-1).Draw(t, "checkpoint")
	to := rapid.IntRange(at, len(w.log)-1).Draw(t, "log ends")
	w.from = w.states[at].Offset
	past, e := w.m.Found(count.Answer{State: w.states[at], Saved: w.states[at].Offset, Revision: w.revision, Past: w.log[at : to+1]}, w.moment())
	w.asked(e)
	if e&count.Contradicted != 0 {
		t.Fatal("what was looked up contradicts what was heard")
	}
	for i, full := range past {
		// The publication of the checkpoint is already counted.
		if i > 0 && full != w.verdicts[at+i] && !w.log[at+i].Plain {
			t.Fatalf("publication %d of the past: full is %v, want %v", at+i, full, w.verdicts[at+i])
		}
	}
}

// hear delivers a checkpoint of a gateway that has counted everything.
func (w *world) hear(t *rapid.T) {
	w.revision++
	e := w.m.Heard(w.states[rapid.IntRange(0, len(w.states)-1).Draw(t, "heard")], w.revision, w.moment())
	if w.asked(e); e&count.Contradicted != 0 && w.m.State() != count.Alone {
		t.Fatal("a true checkpoint contradicts the count")
	}
}

// disturb makes the feed lose events that come again, or lets time pass.
func (w *world) disturb(t *rapid.T) {
	if rapid.Bool().Draw(t, "lost") {
		w.asked(w.m.Lost(w.log[w.fed-1].Offset))
		return
	}
	w.now = w.now.Add(6 * time.Second)
	w.asked(w.m.Tick(w.now))
}
