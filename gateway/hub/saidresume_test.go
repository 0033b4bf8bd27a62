package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime01AResumeThatIsAnnouncedIsWaitedFor: a client whose next frame is late gets what it
// missed before what is live all the same, if it has said that a resume comes.
func TestTime01AResumeThatIsAnnouncedIsWaitedFor(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	at := r.publishMany("orders", 0, 4)
	slow, _ := r.second()
	slow.join("orders", `,"resumes":true`)
	// Who says nothing is held too, begins later, and is let go first.
	other, _ := r.second()
	other.join("orders", "")
	r.publishMany("orders", 5, 7)
	if diff := cmp.Diff(numbers(5, 7), other.events(3)); diff != "" {
		t.Fatal(diff)
	}
	slow.from("orders", at.Epoch, at.Offset-4, "")
	if diff := cmp.Diff(numbers(1, 7), slow.events(7)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := slow.summary(); len(s.Recovered) != 1 || len(s.Failed) != 0 {
		t.Errorf("got %+v", s)
	}
}

// TestTime07AnAnnouncedResumeThatNeverComes: its subscription is live after a while.
func TestTime07AnAnnouncedResumeThatNeverComes(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	p, id := r.second()
	p.join("orders", `,"resumes":true`)
	r.publish("orders", "told", `1`)
	p.alive()
	c := r.hub.find(id)
	c.recovery.mu.Lock()
	wait := c.recovery.patience()
	c.recovery.mu.Unlock()
	if wait != holdAge {
		t.Errorf("it is waited for %v", wait)
	}
	c.patient()
	p.want("told")
	p.join("bills", "")
	r.publish("bills", "told", `2`)
	p.want("told")
}
