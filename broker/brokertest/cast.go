package brokertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

// whether repeats a cast until it is heard: in a cluster, other servers learn of a new follower later than
// the one that was asked.
const whether = "cast-whether it is heard"

// listening is a recorder that also keeps cast events.
type listening struct {
	*recorder
	heard []*broker.Publication
	hears bool
}

func (l *listening) Heard(e *broker.Publication) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.MessageID == whether {
		l.hears = true
	} else {
		l.heard = append(l.heard, e)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *listening) casts() []*broker.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[:len(l.heard):len(l.heard)]
}

// listen attaches a sink that receives the casts of b.Log.
func listen(t *testing.T, b *backend, log broker.Log, app, channel string) (*listening, broker.Attachment) {
	t.Helper()
	l := &listening{recorder: newRecorder()}
	at := attachSink(t, log, app, channel, l)
	if b.Scant {
		return l, at // What is asked with would take the place of what is asked for.
	}
	eventually(t, "what is cast is heard", func() bool {
		cast(t, b.Log, app, channel, strings.TrimPrefix(whether, "cast-"))
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.hears
	})
	return l, at
}

func cast(t *testing.T, log broker.Log, app, channel string, data ...string) {
	t.Helper()
	events := make([]broker.Outgoing, len(data))
	for i, d := range data {
		ev := text(d)
		ev.MessageID = "cast-" + d
		events[i] = broker.Outgoing{Channel: channel, Event: ev}
	}
	if err := log.Cast(t.Context(), app, events...); err != nil {
		t.Fatalf("Cast to %q: %v", channel, err)
	}
}

// testCast checks that cast events reach attached listeners and are not stored.
func testCast(t *testing.T, b *backend) {
	app := b.Apps[0]
	t.Run("an event is heard as it was cast and stored nowhere", func(t *testing.T) {
		channel := b.fresh()
		sink, at := listen(t, b, b.Log, app, channel)
		deaf, _ := attach(t, b.Log, app, channel)
		ev := everything()
		if err := b.Log.Cast(t.Context(), app, broker.Outgoing{Channel: channel, Event: &ev}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the event is heard", func() bool { return len(sink.casts()) == 1 })
		got := sink.casts()[0]
		if diff := cmp.Diff(got.Event, ev, sameEvent); diff != "" {
			t.Errorf("heard (-) and cast (+):\n%s", diff)
		}
		if got.Position != (broker.Position{}) || got.Prev != 0 || got.Skipped != "" || got.Time.IsZero() {
			t.Errorf("heard %+v: it has no place, and a time", got)
		}
		next := publish(t, b.Log, app, channel, "stored")[0]
		if pubs := sink.await(t, next.Offset); len(pubs) != 1 || pubs[0].Position != next {
			t.Errorf("stored events are %v", offsetsOf(pubs))
		}
		if pubs := deaf.await(t, next.Offset); len(pubs) != 1 {
			t.Errorf("a sink that does not listen has %v", dataOf(pubs))
		}
		settle(t, b.Log, app, channel, next)
		for way, pubs := range map[string][]*broker.Publication{
			"Read":  read(t, b.Log, app, channel, broker.Query{Limit: 10}).Publications,
			"After": after(t, b.Log, app, channel, at.Position(), 10).Publications,
		} {
			if got := fmt.Sprint(dataOf(pubs)); got != "[stored]" {
				t.Errorf("%s has %s", way, got)
			}
		}
		if r := settle(t, b.Log, app, channel, next); r.Messages != 1 || r.Oldest != next.Offset {
			t.Errorf("retained %+v", r)
		}
	})
	t.Run("order holds among casts and among stored events", func(t *testing.T) {
		channel := b.fresh()
		sink, _ := listen(t, b, b.Log, app, channel)
		data := number(60)
		var newest broker.Position
		for i := range data {
			cast(t, b.Log, app, channel, data[i])
			newest = publish(t, b.Log, app, channel, data[i])[0]
		}
		if diff := cmp.Diff(dataOf(sink.await(t, newest.Offset)), data); diff != "" {
			t.Errorf("stored (-), want (+):\n%s", diff)
		}
		if b.Scant {
			heard, at := dataOf(sink.casts()), 0
			for _, d := range data {
				if at < len(heard) && heard[at] == d {
					at++
				}
			}
			if at < len(heard) {
				t.Errorf("heard %v", heard)
			}
			return
		}
		eventually(t, "all casts are heard", func() bool { return len(sink.casts()) == len(data) })
		if diff := cmp.Diff(dataOf(sink.casts()), data); diff != "" {
			t.Errorf("heard (-), want (+):\n%s", diff)
		}
	})
	t.Run("only the channel that is meant hears it", func(t *testing.T) {
		channel := b.fresh()
		sink, at := listen(t, b, b.Log, app, channel)
		elsewhere, _ := listen(t, b, b.Log, b.Apps[1], channel)
		names := []string{channel + "x", strings.ToUpper(channel), channel + ".more", "*", ">", "ü" + channel}
		others := make([]*listening, len(names))
		for i, name := range names {
			others[i], _ = listen(t, b, b.Log, app, name)
		}
		cast(t, b.Log, app, channel, "mine")
		cast(t, b.Log, b.Apps[1], channel, "theirs")
		for i, name := range names {
			cast(t, b.Log, app, name, fmt.Sprint(i))
		}
		eventually(t, "all are heard", func() bool {
			return len(sink.casts()) > 0 && len(elsewhere.casts()) > 0 && !slices.ContainsFunc(others, func(o *listening) bool { return len(o.casts()) == 0 })
		})
		if got := fmt.Sprint(dataOf(sink.casts()), dataOf(elsewhere.casts())); got != "[mine] [theirs]" {
			t.Errorf("heard %s", got)
		}
		for i, o := range others {
			if got := fmt.Sprint(dataOf(o.casts())); got != fmt.Sprintf("[%d]", i) {
				t.Errorf("%q heard %s", names[i], got)
			}
		}
		at.Detach()
		again, _ := listen(t, b, b.Log, app, channel)
		cast(t, b.Log, app, channel, "late")
		eventually(t, "the one that is attached hears it", func() bool { return len(again.casts()) == 1 })
		if n := len(sink.casts()); n != 1 {
			t.Errorf("who was detached heard %d", n)
		}
	})
	t.Run("other nodes hear it", func(t *testing.T) {
		if b.Second == nil {
			t.Skip("the backend has one node")
		}
		channel, other := b.fresh(), b.Second(t)
		sink, _ := listen(t, b, other, app, channel)
		here, _ := listen(t, b, b.Log, app, channel)
		data := number(30)
		cast(t, b.Log, app, channel, data...)
		for where, s := range map[string]*listening{"the other node": sink, "this node": here} {
			eventually(t, where+" hears all", func() bool { return len(s.casts()) >= len(data) })
			if diff := cmp.Diff(dataOf(s.casts()), data); diff != "" {
				t.Errorf("%s heard (-), want (+):\n%s", where, diff)
			}
		}
	})
	testCastErrors(t, b)
}

func testCastErrors(t *testing.T, b *backend) {
	app, ev := b.Apps[0], everything()
	out := broker.Outgoing{Channel: b.fresh(), Event: &ev}
	if err := b.Log.Cast(t.Context(), b.UnknownApp, out); !errors.Is(err, broker.ErrUnknownApp) {
		t.Errorf("an unknown app: %v", err)
	}
	if err := b.Log.Cast(cancelled(), app, out); err == nil {
		t.Error("a context that has ended: no error")
	}
	if b.MaxEventBytes > 0 {
		large := *text(strings.Repeat("x", b.MaxEventBytes+1))
		large.MessageID = "large"
		if err := b.Log.Cast(t.Context(), app, broker.Outgoing{Channel: b.fresh(), Event: &large}); !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	}
	if err := b.Log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Log.Cast(t.Context(), app, out); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
