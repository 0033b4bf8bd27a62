package cluster

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestEV12WhatWasAcceptedIsDelivered kills gateways right after they have answered 200. The subscribers are
// on another gateway and must get every accepted event.
func TestEV12WhatWasAcceptedIsDelivered(t *testing.T) {
	nats := startNATS(t)
	set := childSettings{URLs: nats.urls(), App: "app", Members: 100, Lease: 15 * time.Second}
	a := set.tenant()
	p := dialPeer(t, spawn(t, set).Addr(), a)
	p.subscribe("orders", "")
	for i := range 4 {
		taker := spawn(t, set)
		body := fmt.Sprintf(`{"name":"order","channel":"orders","data":"%d"}`, i)
		status := requestAt(t, taker.Addr(), a, http.MethodPost, "/events", body, nil)
		taker.kill()
		if status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
		if got := p.awaitN("order", "orders", i+1); got[i].str() != fmt.Sprint(i) {
			t.Errorf("event %d is %s", i, got[i].text)
		}
	}
}
