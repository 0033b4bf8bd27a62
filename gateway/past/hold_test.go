package past

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

// TestTime01HowLongIsHeld: a while behind the newest subscription or a request that took longer, and
// never longer than the most; who announces a resume, that long.
func TestTime01HowLongIsHeld(t *testing.T) {
	now := time.Unix(1000, 0)
	a, b := &fanout.Line{Name: "a"}, &fanout.Line{Name: "b"}
	wayOf := func(l *fanout.Line) *fanout.Way { return &fanout.Way{Line: l} }
	var h Hold
	if h.Busy(true) || h.Busy(false) || h.Late(now) > 0 {
		t.Error("nobody waits, and is waited for")
	}
	h.Add(wayOf(a), false, now)
	if got := h.Wait(now); got != HoldTime {
		t.Errorf("waits %v", got)
	}
	for range 100 { // Messages that are handled in time say nothing of a resume.
		h.Busy(true)
		if h.Busy(false) {
			t.Fatal("chatter makes it wait longer")
		}
	}
	h.Busy(true)
	if got := h.Late(now); got != HoldTime {
		t.Errorf("waits %v for a message that is being handled", got)
	}
	if !h.Busy(false) || h.Busy(false) {
		t.Error("a message that took long gives the next one its time, once")
	}
	h.Busy(true)
	if got := h.Late(now.Add(HoldAge - time.Millisecond)); got != time.Millisecond {
		t.Errorf("waits %v in the end", got)
	}
	if got := h.Late(now.Add(HoldAge)); got > 0 {
		t.Errorf("waits %v beyond the most", got)
	}
	h.Busy(false)
	h.Add(wayOf(b), true, now.Add(time.Second))
	if got := h.Wait(now.Add(time.Second)); got != HoldAge-time.Second {
		t.Errorf("waits %v for an announced resume", got)
	}
	if got := h.Late(now.Add(time.Second)); got != HoldAge-time.Second {
		t.Errorf("a timer of before lets it go: %v", got)
	}
	h.Drop(b)
	if got := h.Wait(now.Add(time.Second)); got != HoldTime || h.Len() != 1 {
		t.Errorf("waits %v for one that was given up", got)
	}
	ways := h.Take()
	if len(ways) != 1 || ways[0].Line != a || ways[0].Held.Load() || h.Len() != 0 {
		t.Errorf("took %v", ways)
	}
}
