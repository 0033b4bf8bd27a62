package streams

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestWeeks22EventsThatNobodyReadsAreCounted: before, raw events that cannot be delivered were counted only
// in channels with subscribers.
func TestWeeks22EventsThatNobodyReadsAreCounted(t *testing.T) {
	t.Parallel()
	s := node(t, t.TempDir())
	opt, text := options(s), &lines{}
	opt.Logger = slog.New(slog.NewTextHandler(text, nil))
	l := open(t, opt)
	op := newOperator(t, l)
	raw := func(token, data string, h nats.Header) {
		t.Helper()
		if _, err := op.js.PublishMsg(t.Context(), &nats.Msg{Subject: "ch.app-1." + token, Data: []byte(data), Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	counted := func(n uint64) {
		t.Helper()
		awaitTrue(t, "they are counted", func() bool { return l.Stats().Skipped >= n })
		if got := l.Stats().Skipped; got != n {
			t.Errorf("%d events are counted, want %d", got, n)
		}
	}
	attachSink(t, l, "followed")
	raw("followed", "\xff", nil)
	left, err := l.Attach(t.Context(), "app-1", "left", &sink{})
	if err != nil {
		t.Fatal(err)
	}
	raw("left", "\xff", nil)
	counted(2)
	left.Detach()
	for range 100 {
		raw("alone", "deliverable", nil)
	}
	raw("alone", "\xff", nil)
	raw("alone", "x", nats.Header{"Event": []string{"pusher:error"}})
	raw("my.channel", "\xff", nil) // counted among the names that are no channel
	counted(4)
	// If an event were counted twice, it would have been by the time at which the next one is counted.
	raw("alone", "\xff", nil)
	counted(5)
	if got := text.String(); !strings.Contains(got, "cannot be delivered were skipped") {
		t.Errorf("the log says\n%s", got)
	}
}

// TestOverlookedEventsAreDue tests which messages of a stream are checked, and when.
func TestOverlookedEventsAreDue(t *testing.T) {
	t.Parallel()
	var o overlooked
	now, created := time.Unix(1e9, 0), time.Unix(1e8, 0)
	for i, step := range []struct {
		after        time.Duration
		newest, from uint64
		anew         bool // the stream was created again
	}{
		{0, 1000, 0, false},                      // what was there before
		{time.Hour, 1000, 0, false},              // nothing new
		{0, 1001, 1001, false},                   //
		{time.Second, 1003, 0, false},            // too soon
		{overlookedPause, 1003, 1002, false},     //
		{overlookedPause, 1067, 1004, false},     // as many as may be
		{overlookedPause, 1132, 1069, false},     // one is passed over
		{overlookedPause, 1100, 0, false},        // an older state of the stream
		{overlookedPause, 1133, 1133, false},     //
		{overlookedPause, 90_000, 89_937, false}, //
		{overlookedPause, 10, 0, true},           //
		{overlookedPause, 11, 11, false},         //
	} {
		now = now.Add(step.after)
		if step.anew {
			created = created.Add(time.Hour)
		}
		info := &jetstream.StreamInfo{Created: created, State: jetstream.StreamState{LastSeq: step.newest}}
		if from := o.due(info, now); from != step.from {
			t.Fatalf("step %d looks from %d on, want %d", i, from, step.from)
		} else if from > 0 {
			o.looked, o.last = now, step.newest
		}
	}
}

// ofOverlooked reports whether a request comes from the look for overlooked events, which asks for all channels at
// some moment. Tests that count the readings of channels leave it out.
func ofOverlooked(m *nats.Msg) bool {
	var q getRequest
	return json.Unmarshal(m.Data, &q) == nil && strings.HasSuffix(q.NextFor, ">")
}
