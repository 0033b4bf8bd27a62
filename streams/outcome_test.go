package streams

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// TestTrust08OldFailuresDoNotKeepAGatewayUnready: a load balancer may send no writes to a gateway that is not
// ready, and then no success could ever clear the failure. So an old failure expires.
func TestTrust08OldFailuresDoNotKeepAGatewayUnready(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	o := outcome{what: "storing"}
	o.note(l, errors.New("out of everything"))
	now := time.Now()
	o.expire(l, now)
	if l.Health().Ready {
		t.Error("a failure of just now is forgotten")
	}
	o.expire(l, now.Add(staleFailure+time.Second))
	if h := l.Health(); !h.Ready {
		t.Errorf("an old failure stays: %v", h.Problems)
	}
}

// TestFailuresEndWithASuccess: a success between the two halves of a failing write left a problem behind that no later
// success removed, so readiness named it for good.
func TestFailuresEndWithASuccess(t *testing.T) {
	l := &Log{problems: map[string]problem{}}
	o := outcome{what: "storing"}
	for range 2000 {
		var writing sync.WaitGroup
		for _, err := range []error{errors.New("no room"), nil, errors.New("no room"), nil} {
			writing.Go(func() { o.note(l, err) })
		}
		writing.Wait()
		if o.note(l, nil); len(l.problems) > 0 {
			t.Fatalf("after a success the problems are %v", l.problems)
		}
	}
}
