package past

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

// TestTime01HowLongIsHeld: a subscription is held until the client has been silent for a while, and never
// longer than HoldAge. With an announced resume it is held for HoldAge.
func TestTime01HowLongIsHeld(t *testing.T) {
	now := time.Unix(1000, 0)
	lines := map[string]*fanout.Line{}
	var h Hold
	add := func(name string, said bool) {
		t.Helper()
		lines[name] = &fanout.Line{Name: name}
		w := &fanout.Way{Line: lines[name]}
		if h.Add(w, said, now); !w.Held.Load() {
			t.Errorf("%s is not held", name)
		}
	}
	handle := func(name string, took time.Duration) {
		h.Busy(true, now)
		if now = now.Add(took); name != "" {
			add(name, false)
		}
		h.Busy(false, now)
	}
	quiet := func(d time.Duration) { now = now.Add(d) }
	unread := false
	due := func(want ...string) {
		t.Helper()
		var got []string
		for _, w := range h.Due(now, unread) {
			if got = append(got, w.Line.Name); w.Held.Load() {
				t.Errorf("%s is held still", w.Line.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("go on: %v, want %v", got, want)
		}
	}
	waits := func(want time.Duration) {
		t.Helper()
		if got := h.Wait(now); got != want {
			t.Errorf("waits %v, want %v", got, want)
		}
	}
	due()
	handle("", time.Hour)
	quiet(time.Hour)
	handle("a", time.Second)
	waits(HoldTime)
	// Time spent on requests that follow without a pause does not count.
	for range 20 {
		handle("", 40*time.Millisecond)
	}
	waits(HoldTime)
	// Further subscriptions do not prolong the wait of earlier ones.
	for n := range 4 {
		quiet(12 * time.Millisecond)
		handle(fmt.Sprint("b", n), 30*time.Millisecond)
		due()
	}
	waits(2 * time.Millisecond)
	quiet(2 * time.Millisecond)
	due("a")
	waits(12 * time.Millisecond)
	// An earlier timer fires while a message is being handled.
	h.Busy(true, now.Add(10*time.Millisecond))
	quiet(time.Second)
	due()
	h.Busy(false, now)
	waits(2 * time.Millisecond)
	quiet(14 * time.Millisecond)
	due("b0", "b1")
	h.Drop(lines["b2"])
	quiet(time.Minute)
	due("b3")
	// If the process was suspended, a client whose message has arrived was not silent.
	handle("u", 0)
	quiet(time.Minute / 10)
	unread = true
	due()
	waits(HoldTime)
	unread = false
	quiet(HoldTime - time.Millisecond)
	due()
	quiet(time.Millisecond)
	due("u")
	// Never longer than HoldAge.
	handle("c", 0)
	h.Busy(true, now)
	unread = true
	waits(HoldAge)
	quiet(HoldAge - time.Millisecond)
	due()
	quiet(time.Millisecond)
	due("c")
	unread = false
	h.Busy(false, now)
	// An announced resume is waited for that long.
	handle("d", 0)
	add("e", true)
	quiet(time.Second)
	due()
	waits(HoldAge - time.Second)
	h.Drop(lines["e"])
	due("d")
	add("f", true)
	if h.Len() != 1 || len(h.Take()) != 1 || h.Len() != 0 {
		t.Error("not all were taken")
	}
}
