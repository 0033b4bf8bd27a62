package hub

import (
	"context"
	"testing"
	"time"
)

// TestWS26WhoComesBackToTheOnlyGatewayIsHeld: pusher-js reconnects at once after a 4200. If that fails, it
// tries again only 15 seconds later. So the only gateway of a cluster keeps returning connections open until
// its port is closed, and then tells them to reconnect a moment later.
func TestWS26WhoComesBackToTheOnlyGatewayIsHeld(t *testing.T) {
	r := newRig(t, nil)
	var first []*peer
	for range 3 {
		p, _ := r.connect()
		first = append(first, p)
	}
	stayed := make(chan func())
	go func() { stayed <- r.hub.Stay(context.Background(), 0, patience) }()
	codes := make(chan int)
	for _, p := range first {
		if code := p.closed(); code != 4200 {
			t.Errorf("WS-21: closed with %d, want 4200", code)
		}
		go func() { codes <- r.dial("/app/key?protocol=7").closed() }()
	}
	letGo := <-stayed // All clients have reconnected.
	select {
	case code := <-codes:
		t.Errorf("one was told %d while the port is open", code)
	default:
	}
	letGo()
	for range first {
		if code := <-codes; code != 4100 {
			t.Errorf("who came back was closed with %d, want 4100", code)
		}
	}
}

// TestNobodyStaysForNobody: without WebSockets a stop takes no longer, and it ends even if clients do not
// reconnect.
func TestNobodyStaysForNobody(t *testing.T) {
	r := newRig(t, nil)
	r.hub.Stay(context.Background(), 0, time.Hour)()
	r = newRig(t, nil)
	p, _ := r.connect()
	r.hub.Stay(context.Background(), 0, time.Millisecond)()
	if code := p.closed(); code != 4200 {
		t.Errorf("closed with %d, want 4200", code)
	}
	r = newRig(t, nil)
	r.connect()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.hub.Stay(ctx, 0, time.Hour)()
}
