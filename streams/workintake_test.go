package streams

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWorkIntakeAudit(t *testing.T) {
	in := newIntake(10)
	arrive := func(number uint64, size int) {
		t.Helper()
		if err := in.arrive(t.Context(), number, size); err != nil {
			t.Fatal(err)
		}
	}
	audit := func(delivered uint64, want error) {
		t.Helper()
		if err := in.audit(delivered); !errors.Is(err, want) {
			t.Errorf("an audit with %d delivered and %d seen said %v", delivered, in.seen, err)
		}
	}
	arrive(1, 4)
	audit(3, nil) // two may be on their way
	arrive(2, 4)
	arrive(3, 1)
	audit(4, nil)

	// Tasks queued behind one for which there is no room are not missing.
	waited := make(chan error, 1)
	go func() { waited <- in.arrive(t.Context(), 4, 5) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for waiting := false; !waiting; <-tick.C {
		in.mu.Lock()
		waiting = in.waiting
		in.mu.Unlock()
	}
	audit(6, nil)
	audit(6, nil)
	in.free(8)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	audit(6, nil) // what was queued may not have been looked at yet
	audit(6, errMissed)

	// A task that still arrives is not missing, however long it takes.
	arrive(5, 1)
	audit(9, nil)
	arrive(6, 1)
	audit(9, nil)
	arrive(7, 1)
	audit(9, nil)
	audit(9, errMissed)

	if err := in.arrive(t.Context(), 9, 1); !errors.Is(err, errMissed) {
		t.Errorf("a gap gave %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.arrive(ended, 8, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
