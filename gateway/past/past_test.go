package past

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
	"github.com/sluicehq/sluice/gateway/socket"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// stage is the past of a channel with some publications, none of which is in memory.
type stage struct {
	*Recent
	line  *fanout.Line
	at    []broker.Position
	tasks sync.WaitGroup
	pages int
}

func newStage(t *testing.T, events int) *stage {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	s := &stage{}
	for n := range events {
		got, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: fmt.Append(nil, n)}})
		if err != nil {
			t.Fatal(err)
		}
		s.at = append(s.at, got[0].Position)
	}
	hall := fanout.NewHall(&fanout.Hall{Sockets: socket.NewGroup(socket.Options{Now: time.Now})}, 1)
	s.line = &fanout.Line{Hall: hall, App: "app", Name: "c", Shards: make([]fanout.Subscribers, 1)}
	in := &Library{
		Timeout: time.Minute,
		Log:     sight.Log{History: log, Now: time.Now}, Context: t.Context(), Most: 1 << 20, Read: func() { s.pages++ },
		Background: func(f func()) bool {
			s.tasks.Go(f)
			return true
		},
		Failed: func(_, _ string, err error) { t.Errorf("reading failed: %v", err) },
	}
	of := &app.App{ID: "app", Recovery: app.Recovery{Enabled: true, MaxEvents: 100, MaxBytes: 1 << 20}}
	last := s.at[events-1]
	s.Recent = New(in, of, s.line, func() string { return last.Epoch })
	s.Begin(last.Epoch, last.Offset)
	return s
}

func (s *stage) way(place uint64) *fanout.Way {
	return &fanout.Way{Line: s.line, Shard: s.line.Hall.Shards[0], Epoch: s.at[0].Epoch, Place: place}
}

// TestThePastIsReadOnceForAllWhoWait: a page that is not in memory is read once for all ways that wait, and
// wakes them.
func TestThePastIsReadOnceForAllWhoWait(t *testing.T) {
	s := newStage(t, 20)
	ways := []*fanout.Way{s.way(s.at[4].Offset), s.way(s.at[9].Offset), s.way(s.at[4].Offset)}
	s.mu.Lock()
	s.reading = true // A read is about to begin.
	s.mu.Unlock()
	for _, w := range ways {
		if _, _, ok := s.Next(nil, w, 100); ok || !w.Cold {
			t.Fatal("it has what nobody has read")
		}
	}
	s.read()
	for i, want := range []int{15, 10, 15} {
		items, reached, ok := s.Next(nil, ways[i], 100)
		if !ok || len(items) != want || reached != s.at[19].Offset || ways[i].Failed.Load() != nil {
			t.Errorf("way %d gets %d publications up to %d, %v; want %d", i, len(items), reached, ok, want)
		}
	}
	if s.pages != 1 {
		t.Errorf("%d pages were read", s.pages)
	}
	if n := s.line.Hall.Shards[0].Woken(); n != len(ways) {
		t.Errorf("%d ways were woken, want %d", n, len(ways))
	}
}

// TestAWayThatCannotBeIsToldWhy: a position in another epoch, or above the newest event, has its failure
// code.
func TestAWayThatCannotBeIsToldWhy(t *testing.T) {
	s := newStage(t, 3)
	ahead, items, _ := s.Distance(s.at[2].Offset+1, s.at[2].Offset)
	if !ahead || items != 0 {
		t.Errorf("a place above the end: %v, %d", ahead, items)
	}
	for err, want := range map[error]pusher.FailureCode{
		broker.ErrEpochChanged: pusher.StreamReset, broker.ErrPositionExpired: pusher.PositionExpired,
		broker.ErrPositionUnknown: pusher.ContinuityUnverifiable,
	} {
		if f := s.Failure("old", err); f.Code != want || f.Expected != "old" || f.Current != s.at[0].Epoch || f.Newest != s.at[2].Offset {
			t.Errorf("%v: got %+v, want %s", err, f, want)
		}
	}
	w := s.way(s.at[0].Offset)
	s.Next(nil, w, 1)
	s.Begin("another", 0)
	s.tasks.Wait()
	s.Leave(w)
}

// TestASnapshotIsMadeOfTheLog: a new subscriber with a snapshot gets the newest publication of each value.
func TestASnapshotIsMadeOfTheLog(t *testing.T) {
	s := newStage(t, 5)
	w := s.way(0)
	w.Latest = true
	if _, _, ok := s.Next(nil, w, 10); ok {
		t.Fatal("it has what nobody has read")
	}
	s.tasks.Wait()
	items, _, ok := s.Next(nil, w, 10)
	if !ok || len(items) != 1 || string(items[0].Pub.Data) != "4" || s.Partial() || !w.Fresh {
		t.Errorf("got %d publications, %v; partial %v", len(items), ok, s.Partial())
	}
}

// TestNoPast: a channel without readable history has no past, and its methods do nothing.
func TestNoPast(t *testing.T) {
	r := New(&Library{}, &app.App{}, &fanout.Line{Name: "c"}, nil)
	if r != nil {
		t.Fatal("there is one")
	}
	r.Begin("e", 1)
	r.Attach("e", 1)
	r.Skip(2)
	r.Prime(nil)
}

// TestAReadingIsJudgedByWhenItBegan: the result of a read that began after an erasure is used, whatever its
// positions. The result of a read that began before it is dropped.
func TestAReadingIsJudgedByWhenItBegan(t *testing.T) {
	t.Run("after the erasure", func(t *testing.T) {
		s := newStage(t, 8)
		s.Erase(s.at[0].Epoch)
		w := s.way(s.at[0].Offset - 1)
		if _, _, ok := s.Next(nil, w, 100); ok {
			t.Fatal("it has what nobody has read")
		}
		s.tasks.Wait()
		if items, _, ok := s.Next(nil, w, 100); !ok || len(items) != 8 {
			t.Errorf("got %d events, %v after %d pages", len(items), ok, s.pages)
		}
		s.tasks.Wait()
	})
	t.Run("before the erasure", func(t *testing.T) {
		s := newStage(t, 8)
		w := s.way(s.at[0].Offset - 1)
		read := s.library.Read
		s.library.Read = func() {
			if read(); s.pages == 1 {
				s.Erase(s.at[0].Epoch)
			}
		}
		s.Next(nil, w, 100)
		s.tasks.Wait()
		if _, _, ok := s.Next(nil, w, 100); ok {
			t.Error("what was read before the erasure was taken")
		}
		s.tasks.Wait()
		if items, _, ok := s.Next(nil, w, 100); !ok || len(items) != 8 || s.pages != 2 {
			t.Errorf("got %d events, %v after %d pages", len(items), ok, s.pages)
		}
	})
	t.Run("what a rewind read", func(t *testing.T) {
		s := newStage(t, 8)
		page, err := s.library.Log.History.Read(t.Context(), "app", "c", broker.Query{Limit: 8})
		if err != nil {
			t.Fatal(err)
		}
		before := s.Erasures()
		s.Erase(s.at[0].Epoch)
		learns := func(erasures int, want bool) {
			t.Helper()
			s.learn(s.at[0].Epoch, erasures, page.Publications, s.at[7].Offset)
			if got := s.Since() < s.at[7].Offset || s.IDAt(s.at[0].Offset) != ""; got != want {
				t.Errorf("learned is %v, want %v", got, want)
			}
		}
		learns(before, false)
		learns(s.Erasures(), true)
	})
}

// forgetful is a log whose first count from one offset fails.
type forgetful struct {
	broker.Log
	from   uint64
	failed bool
}

func (l *forgetful) CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error) {
	if offset == l.from && !l.failed {
		l.failed = true
		return 0, broker.ErrUnavailable
	}
	return l.Log.(broker.Ranking).CountFrom(ctx, app, channel, offset)
}

// TestACountThatFailedIsNoCount: before, a failed count was used as 0 for the next way, whose own events then
// counted as missed.
func TestACountThatFailedIsNoCount(t *testing.T) {
	s := newStage(t, 200)
	to := s.at[159].Offset
	s.library.Log.History = &forgetful{Log: s.library.Log.History.(broker.Log), from: to + 1}
	long := map[*fanout.Way]*fanout.Rest{}
	for range 2 {
		// 159 publications were missed, and 40 came since the subscription.
		long[s.way(s.at[0].Offset)] = &fanout.Rest{Above: s.at[0].Offset, To: to, Most: 170}
	}
	far := map[*fanout.Way]*pusher.ResumeFailure{}
	s.measure(s.at[0].Epoch, long, far)
	if len(far) > 0 {
		t.Errorf("%d ways of 2 are refused", len(far))
	}
}
