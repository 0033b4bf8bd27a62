package brokertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// text returns a simple event.
func text(data string) *broker.Event {
	return &broker.Event{Name: "update", Data: []byte(data)}
}

// publish stores one event per data string in one channel, one call each, and
// returns their positions.
func publish(t *testing.T, log broker.Log, app, channel string, data ...string) []broker.Position {
	t.Helper()
	positions := make([]broker.Position, len(data))
	for i, d := range data {
		positions[i] = publishEvent(t, log, app, channel, text(d)).Position
	}
	return positions
}

func publishEvent(t *testing.T, log broker.Log, app, channel string, ev *broker.Event) broker.Receipt {
	t.Helper()
	rs, err := log.Publish(t.Context(), app, broker.Outgoing{Channel: channel, Event: ev})
	if err != nil {
		t.Fatalf("Publish to %q: %v", channel, err)
	}
	if len(rs) != 1 {
		t.Fatalf("Publish of one event returned %d receipts", len(rs))
	}
	return rs[0]
}

// number returns n different data strings.
func number(n int) []string {
	data := make([]string, n)
	for i := range data {
		data[i] = fmt.Sprintf(`{"i":%d}`, i)
	}
	return data
}

// settle waits until the log's history shows the channel up to the position.
// History may lag behind an acknowledged publish for a moment.
func settle(t *testing.T, log broker.Log, app, channel string, pos broker.Position) broker.Retained {
	t.Helper()
	var last broker.Retained
	eventually(t, fmt.Sprintf("history of %q reaches offset %d", channel, pos.Offset), func() bool {
		r, err := log.Retained(t.Context(), app, channel)
		if err != nil {
			t.Fatalf("Retained(%q): %v", channel, err)
		}
		last = r
		return r.Newest >= pos.Offset
	})
	return last
}

// eventually waits for a condition by polling it.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v in vain: %s", Patience, what)
		case <-tick.C:
		}
	}
}

func read(t *testing.T, log broker.Log, app, channel string, q broker.Query) *broker.Page {
	t.Helper()
	page, err := log.Read(t.Context(), app, channel, q)
	if err != nil {
		t.Fatalf("Read(%q, %+v): %v", channel, q, err)
	}
	return page
}

func after(t *testing.T, log broker.Log, app, channel string, pos broker.Position, limit int) *broker.Page {
	t.Helper()
	page, err := log.After(t.Context(), app, channel, pos, limit)
	if err != nil {
		t.Fatalf("After(%q, %+v, %d): %v", channel, pos, limit, err)
	}
	return page
}

func offsetsOf(pubs []*broker.Publication) []uint64 {
	offsets := make([]uint64, len(pubs))
	for i, p := range pubs {
		offsets[i] = p.Offset
	}
	return offsets
}

func dataOf(pubs []*broker.Publication) []string {
	data := make([]string, len(pubs))
	for i, p := range pubs {
		data[i] = string(p.Data)
	}
	return data
}

func offsets(positions []broker.Position) []uint64 {
	o := make([]uint64, len(positions))
	for i, p := range positions {
		o[i] = p.Offset
	}
	return o
}

// recorder is a sink that keeps everything.
type recorder struct {
	mu   sync.Mutex
	pubs []*broker.Publication
	gaps []broker.Gap
	// busy shows that calls do not overlap.
	busy, overlapped bool
	changed          chan struct{}
	// hold, if set, blocks each call until it is closed.
	hold <-chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.overlapped = r.overlapped || r.busy
	r.busy = true
}

func (r *recorder) leave(record func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	record()
	r.busy = false
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Publication(p *broker.Publication) {
	r.enter()
	if r.hold != nil {
		<-r.hold
	}
	r.leave(func() { r.pubs = append(r.pubs, p) })
}

func (r *recorder) Gap(g broker.Gap) {
	r.enter()
	r.leave(func() { r.gaps = append(r.gaps, g) })
}

// got returns what has arrived until now.
func (r *recorder) got() []*broker.Publication {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pubs[:len(r.pubs):len(r.pubs)]
}

// await waits until the sink has seen an offset at or above the given one and
// returns everything that arrived. It fails on a gap and on overlapping calls.
func (r *recorder) await(t *testing.T, offset uint64) []*broker.Publication {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		n, changed := len(r.pubs), r.changed
		done := n > 0 && r.pubs[n-1].Offset >= offset
		gaps, overlapped := r.gaps, r.overlapped
		r.mu.Unlock()
		if len(gaps) > 0 {
			t.Fatalf("the sink was told of a gap, but nothing was evicted: %+v", gaps)
		}
		if overlapped {
			t.Fatal("two calls of the sink ran at the same time")
		}
		if done {
			return r.got()
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("waited %v in vain for offset %d, have %v", Patience, offset, offsetsOf(r.got()))
		}
	}
}

// attach subscribes a recorder and detaches it at the end of the test.
func attach(t *testing.T, log broker.Log, app, channel string) (*recorder, broker.Attachment) {
	t.Helper()
	r := newRecorder()
	return r, attachSink(t, log, app, channel, r)
}

func attachSink(t *testing.T, log broker.Log, app, channel string, sink broker.Sink) broker.Attachment {
	t.Helper()
	at, err := log.Attach(t.Context(), app, channel, sink)
	if err != nil {
		t.Fatalf("Attach(%q): %v", channel, err)
	}
	t.Cleanup(at.Detach)
	return at
}

// cancelled returns a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
