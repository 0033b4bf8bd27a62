package memory_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

func publish(t testing.TB, log *memory.Log, channel, data string) broker.Position {
	t.Helper()
	rs, err := log.Publish(t.Context(), "a", broker.Outgoing{Channel: channel,
		Event: &broker.Event{Name: "e", Data: []byte(data)}})
	if err != nil {
		t.Fatal(err)
	}
	return rs[0].Position
}

// gate is a sink that blocks in each call until it is let go.
type gate struct {
	entered chan struct{}
	release chan struct{}

	mu   sync.Mutex
	seen []string
}

func newGate() *gate {
	return &gate{entered: make(chan struct{}, 1000), release: make(chan struct{})}
}

func (g *gate) call(what string) {
	g.entered <- struct{}{}
	<-g.release
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, what)
}

func (g *gate) Publication(p *broker.Publication) { g.call(fmt.Sprint(p.Offset)) }
func (g *gate) Gap(gap broker.Gap) {
	g.call(fmt.Sprintf("gap %d to %d %s", gap.After.Offset, gap.Resume.Offset, gap.Reason))
}

func (g *gate) sequence() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.seen...)
}

func attach(t *testing.T, log *memory.Log, channel string, sink broker.Sink) broker.Attachment {
	t.Helper()
	at, err := log.Attach(t.Context(), "a", channel, sink)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestSlowSinkIsToldExactlyWhatWasEvicted(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a"}, MaxMessages: 3, QueueItems: 2})
	g := newGate()
	attach(t, log, "c", g)
	publish(t, log, "c", "1")
	<-g.entered // 1 is in delivery
	for range 9 {
		publish(t, log, "c", "x")
	}
	// 2 is queued behind 1; of 3 to 10 the log retains 8, 9, 10.
	close(g.release)
	want := []string{"1", "2", "gap 2 to 7 evicted", "8", "9", "10"}
	for range len(want) - 1 {
		<-g.entered
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g.sequence(), want); diff != "" {
		t.Errorf("the sink saw (-) and should have seen (+):\n%s", diff)
	}
	if st := log.Stats(); st.CatchUps == 0 || st.Gaps != 1 {
		t.Errorf("%d catch-ups and %d gaps were counted, want some and 1", st.CatchUps, st.Gaps)
	}
}

func TestSlowSinkHoldsUpNoOtherSink(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a"}})
	slow, quick := newGate(), newGate()
	close(quick.release)
	attach(t, log, "c", slow)
	attach(t, log, "c", quick)
	for range 10 {
		publish(t, log, "c", "x")
	}
	for range 10 {
		<-quick.entered
	}
	close(slow.release)
}

func TestCloseWaitsForTheCallInProgress(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a"}})
	g := newGate()
	attach(t, log, "c", g)
	publish(t, log, "c", "1")
	publish(t, log, "c", "2")
	<-g.entered
	closed := make(chan struct{})
	go func() {
		log.Close()
		close(closed)
	}()
	for log.Health().Ready {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-closed:
		t.Error("Close returned while a sink was being called")
	default:
	}
	close(g.release)
	<-closed
	if got := g.sequence(); len(got) == 0 || got[0] != "1" {
		t.Errorf("the call in progress did not end before Close did: %v", got)
	}
}

func TestDetachedSinkIsNotCalledForWhatIsQueued(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a"}})
	g := newGate()
	at := attach(t, log, "c", g)
	for range 5 {
		publish(t, log, "c", "x")
	}
	<-g.entered
	at.Detach()
	close(g.release)
	if err := log.Close(); err != nil { // waits for the delivery to end
		t.Fatal(err)
	}
	if diff := cmp.Diff(g.sequence(), []string{"1"}); diff != "" {
		t.Errorf("the sink saw (-) and should have seen (+):\n%s", diff)
	}
}

func TestIdleChannelsAreFreed(t *testing.T) {
	var c clock
	log := open(t, memory.Options{Apps: []string{"a"}, MaxAge: time.Minute, Now: c.now})
	for i := range 100 {
		publish(t, log, fmt.Sprint("c", i), "x")
	}
	g := newGate()
	at := attach(t, log, "c7", g)
	c.advance(2 * time.Minute)
	if _, err := log.Retained(t.Context(), "a", "any"); err != nil {
		t.Fatal(err)
	}
	want := memory.Stats{Published: 100, Evicted: 100, Channels: 1, Attachments: 1}
	if diff := cmp.Diff(log.Stats(), want); diff != "" {
		t.Errorf("with one attachment, got (-) and want (+):\n%s", diff)
	}
	at.Detach()
	want.Channels, want.Attachments = 0, 0
	if diff := cmp.Diff(log.Stats(), want); diff != "" {
		t.Errorf("with none, got (-) and want (+):\n%s", diff)
	}
}

func TestOneAppCannotEvictAnother(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a", "b"}, MaxBytes: 20 << 10, MaxEventBytes: 4096})
	if _, err := log.Publish(t.Context(), "b", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		publish(t, log, "c", strings.Repeat("x", 2000))
	}
	mine, err := log.Retained(t.Context(), "a", "c")
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64((20 << 10) / (2000 + 1 + 512)); mine.Messages != want {
		t.Errorf("the busy app retains %d publications, want %d", mine.Messages, want)
	}
	other, err := log.Retained(t.Context(), "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	if other.Messages != 1 || other.Epoch == mine.Epoch {
		t.Errorf("the quiet app: %+v beside %+v", other, mine)
	}
}

func TestDuplicateWindow(t *testing.T) {
	event := func(id string) broker.Outgoing {
		return broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", DedupID: id}}
	}
	again := func(t *testing.T, log *memory.Log, id string) bool {
		t.Helper()
		rs, err := log.Publish(t.Context(), "a", event(id))
		if err != nil {
			t.Fatal(err)
		}
		return rs[0].Duplicate
	}

	t.Run("an id is forgotten after the window", func(t *testing.T) {
		var c clock
		log := open(t, memory.Options{Apps: []string{"a"}, Now: c.now})
		if again(t, log, "i") {
			t.Error("a new id is a duplicate")
		}
		c.advance(time.Minute)
		if !again(t, log, "i") {
			t.Error("the id was forgotten within the window")
		}
		c.advance(61 * time.Second)
		if again(t, log, "i") {
			t.Error("the id is known after the window")
		}
	})

	t.Run("the oldest id goes when there are too many, and is counted", func(t *testing.T) {
		log := open(t, memory.Options{Apps: []string{"a"}, DedupEntries: 2})
		for _, id := range []string{"1", "2", "3"} {
			again(t, log, id)
		}
		if !again(t, log, "2") || !again(t, log, "3") || again(t, log, "1") {
			t.Error("want the two newest ids known and the oldest forgotten")
		}
		if got := log.Stats().DedupForgotten; got != 2 {
			t.Errorf("%d ids were counted as forgotten, want 2", got)
		}
	})
}

func TestPublishingKeepsNothingOfTheEvent(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a"}})
	ev := &broker.Event{Name: "e", Data: []byte("data"), Extras: []byte("{}"), Tags: map[string]string{"k": "v"}}
	if _, err := log.Publish(t.Context(), "a", broker.Outgoing{Channel: "c", Event: ev}); err != nil {
		t.Fatal(err)
	}
	ev.Data[0], ev.Extras[0], ev.Tags["k"] = 'X', 'X', "X"
	page, err := log.Read(t.Context(), "a", "c", broker.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := broker.Event{Name: "e", Data: []byte("data"), Extras: []byte("{}"), Tags: map[string]string{"k": "v"}}
	if diff := cmp.Diff(page.Publications[0].Event, want); diff != "" {
		t.Errorf("stored (-) and published (+):\n%s", diff)
	}
}

func TestRefusedPublishStoresNothing(t *testing.T) {
	log := open(t, memory.Options{Apps: []string{"a"}, MaxEventBytes: 10})
	good := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}
	large := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: make([]byte, 10)}}
	if _, err := log.Publish(t.Context(), "a", good, large); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if _, err := log.Publish(t.Context(), "a", good, broker.Outgoing{Channel: "c"}); err == nil {
		t.Error("an event that is nil was accepted")
	}
	if got := log.Stats().Published; got != 0 {
		t.Errorf("%d events were stored, want none", got)
	}
}

func TestAppsCanBeAdded(t *testing.T) {
	log := open(t, memory.Options{})
	if _, err := log.Retained(t.Context(), "a", "c"); !errors.Is(err, broker.ErrUnknownApp) {
		t.Errorf("got %v, want ErrUnknownApp", err)
	}
	if err := log.AddApp("a"); err != nil {
		t.Fatal(err)
	}
	first := publish(t, log, "c", "x")
	if err := log.AddApp("a"); err != nil {
		t.Fatal(err)
	}
	if next := publish(t, log, "c", "x"); next.Epoch != first.Epoch || next.Offset != first.Offset+1 {
		t.Errorf("adding an app again changed its log: %+v follows %+v", next, first)
	}
	if err := log.AddApp(""); err == nil {
		t.Error("an empty app id was accepted")
	}
	log.Close()
	if err := log.AddApp("b"); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

func TestOptionsOutOfRangeAreNamed(t *testing.T) {
	for field, opts := range map[string]memory.Options{
		"MaxBytes":      {MaxBytes: -1},
		"MaxEventBytes": {MaxEventBytes: -1},
		"DedupWindow":   {DedupWindow: -1},
		"DedupEntries":  {DedupEntries: -1},
		"QueueItems":    {QueueItems: -1},
		"QueueBytes":    {QueueBytes: -1},
		"MaxBytes is":   {MaxBytes: 1000, MaxEventBytes: 1000},
		"empty app id":  {Apps: []string{"a", ""}},
	} {
		log, err := memory.New(opts)
		if err == nil {
			log.Close()
			t.Errorf("%s: no error", field)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}
