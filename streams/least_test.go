package streams

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// keeping sets the limit of messages per channel of the first app.
func keeping(o Options, n int64) Options {
	o.Apps[0].MaxMessages = n
	return o
}

// TestTrust21RaisedLimits: messages that a smaller limit removed must not look as if they had never existed
// when the limit is raised, whoever lowered it and however.
func TestTrust21RaisedLimits(t *testing.T) {
	const low, high = 3, 100
	retain := func(t *testing.T, l *Log, n int64) {
		if err := l.Retain(t.Context(), []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: n}}); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(t *testing.T, l *Log, n int64) {
		stream, err := l.admin.Stream(t.Context(), StreamOf("app-1"))
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		c.MaxMsgsPerSubject = n
		if _, err := l.admin.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	refresh := func(t *testing.T, l *Log) {
		if err := l.refresh(t.Context(), l.apps.Of("app-1"), ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		// change lowers the limit, raises it, and returns the log to read from.
		change func(t *testing.T, l *Log, reopen func(n int64, change ...func(*Options)) *Log) *Log
	}{
		{"while the log is open", func(t *testing.T, l *Log, _ func(int64, ...func(*Options)) *Log) *Log {
			retain(t, l, low)
			retain(t, l, high)
			return l
		}},
		{"by restarts", func(_ *testing.T, l *Log, reopen func(int64, ...func(*Options)) *Log) *Log {
			_ = l.Close()
			_ = reopen(low).Close()
			_ = reopen(high).Close()
			return reopen(high)
		}},
		{"by another gateway", func(t *testing.T, l *Log, reopen func(int64, ...func(*Options)) *Log) *Log {
			other := reopen(low)
			retain(t, other, high)
			return l
		}},
		{"by hand, and raised by hand", func(t *testing.T, l *Log, _ func(int64, ...func(*Options)) *Log) *Log {
			edit(t, l, low)
			refresh(t, l)
			edit(t, l, high)
			return l
		}},
		{"by hand, and raised by a start", func(t *testing.T, l *Log, reopen func(int64, ...func(*Options)) *Log) *Log {
			_ = l.Close()
			other := reopen(high)
			edit(t, other, low)
			_ = other.Close()
			return reopen(high)
		}},
		{"and the limit is taken away", func(t *testing.T, l *Log, _ func(int64, ...func(*Options)) *Log) *Log {
			retain(t, l, low)
			refresh(t, l)
			edit(t, l, -1)
			refresh(t, l)
			return l
		}},
		{"and a new epoch begins", func(t *testing.T, l *Log, reopen func(int64, ...func(*Options)) *Log) *Log {
			retain(t, l, low)
			retain(t, l, high)
			_ = l.Close()
			return reopen(high, func(o *Options) { o.NewEpoch = true })
		}},
		{"and the bucket is lost", func(t *testing.T, l *Log, _ func(int64, ...func(*Options)) *Log) *Log {
			retain(t, l, low)
			refresh(t, l)
			retain(t, l, high)
			_, revision, err := l.epochs.least(t.Context(), "app-1")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.epochs.store.Delete(t.Context(), leastKey("app-1"), revision); err != nil {
				t.Fatal(err)
			}
			refresh(t, l)
			return l
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := node(t, t.TempDir())
			l := open(t, keeping(options(s), high))
			publish := func(l *Log, channel string) broker.Position {
				t.Helper()
				got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(`{}`)}})
				if err != nil {
					t.Fatal(err)
				}
				return got[0].Position
			}
			publish(l, "few")
			var all []broker.Position
			for range 10 {
				all = append(all, publish(l, "c"))
			}
			l = c.change(t, l, func(n int64, change ...func(*Options)) *Log {
				o := keeping(options(s), n)
				for _, f := range change {
					f(&o)
				}
				return open(t, o)
			})
			publish(l, "c")
			after := func(channel string, offset uint64) (*broker.Page, error) {
				return l.After(context.Background(), "app-1", channel, broker.Position{Epoch: l.apps.Of("app-1").currentEpoch(), Offset: offset}, 100)
			}
			for _, offset := range []uint64{0, all[0].Offset, all[2].Offset, all[6].Offset} {
				if page, err := after("c", offset); !errors.Is(err, broker.ErrPositionExpired) {
					t.Errorf("after %d: got %v, %v, want ErrPositionExpired", offset, page, err)
				}
			}
			if page, err := after("c", all[8].Offset); err != nil || len(page.Publications) != 2 {
				t.Errorf("after one that is kept: got %v, %v", page, err)
			}
			// A channel that never had that many messages was not cut.
			if page, err := after("few", 0); err != nil || len(page.Publications) != 1 {
				t.Errorf("a channel with one event: got %v, %v", page, err)
			}
		})
	}
}

// TestTrust21LimitsThatCutNothing: a limit that was never reached, or that belonged to an earlier stream,
// invalidates no position.
func TestTrust21LimitsThatCutNothing(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, keeping(options(s), 3))
	if err := l.admin.DeleteStream(t.Context(), StreamOf("app-1")); err != nil {
		t.Fatal(err)
	}
	a := l.apps.Of("app-1")
	if err := l.Retain(t.Context(), []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 100}}); err != nil {
		t.Fatal(err)
	}
	if err := l.refresh(t.Context(), a, ""); err != nil {
		t.Fatal(err)
	}
	if got := a.least.Load().messages; got != 100 {
		t.Errorf("the new stream is remembered to have kept %d, want 100", got)
	}
	for i := range 10 {
		if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: fmt.Sprint(i), Data: []byte(`{}`)}}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := l.After(t.Context(), "app-1", "c", broker.Position{Epoch: a.currentEpoch()}, 100)
	if err != nil || len(page.Publications) != 10 {
		t.Errorf("from the beginning: got %v, %v", page, err)
	}
	for _, app := range []string{"least-x", "=least-x", "", "=", "x"} {
		if leastKey("x") == name.Key(app) {
			t.Errorf("the key of a limit is that of the app %q", app)
		}
	}
}

func TestTrust21Smaller(t *testing.T) {
	for _, c := range []struct{ a, b, want int64 }{{0, 0, 0}, {-1, 0, 0}, {5, 0, 5}, {0, 5, 5}, {-1, 5, 5}, {5, -1, 5}, {3, 5, 3}, {5, 3, 3}} {
		if got := smaller(c.a, c.b); got != c.want {
			t.Errorf("smaller(%d, %d) is %d, want %d", c.a, c.b, got, c.want)
		}
	}
	one := least{"one", 5}
	if got := one.with(least{"two", 3}); got != one {
		t.Errorf("another stream counts: %v", got)
	}
}

// TestTrust19LateAcknowledgementMakesNoSecondEpoch: an acknowledgement of an epoch that ends at that moment
// must not be recorded in the next epoch, where it would look like another lost tail.
func TestTrust19LateAcknowledgementMakesNoSecondEpoch(t *testing.T) {
	var w witness
	w.saw(500)
	done := make(chan struct{})
	w.stored(1000, func() bool {
		// The epoch was judged to go on, and ends before the offset is recorded.
		go func() {
			defer close(done)
			w.restart(10)
		}()
		return true
	})
	<-done
	if got := w.high.Load(); got != 10 {
		t.Errorf("the new life is known up to %d, want 10", got)
	}
	w.stored(1000, func() bool { return false })
	if got := w.high.Load(); got != 10 {
		t.Errorf("after a late one: the new life is known up to %d, want 10", got)
	}
}
