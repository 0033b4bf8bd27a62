package hub

import (
	"context"
	"testing"
	"time"
)

// TestWS26WhoComesBackToTheOnlyGatewayIsHeld: pusher-js connects at once after a 4200, and if nobody is there it
// tries again only 15 seconds later. So a gateway without another one beside it holds those who come back until
// nobody can come any more, and tells them to come a moment later.
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
	letGo := <-stayed // Everybody is back.
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

// TestNobodyStaysForNobody: a stop without WebSockets takes no longer, and one whose clients do not come back ends.
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
