package streams

import (
	"errors"
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
