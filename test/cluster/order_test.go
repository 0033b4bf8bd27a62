package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
)

// TestOrderOnAllGateways tests SUB-12, SUB-13, V2-04 and EV-07 on three gateways.
func TestOrderOnAllGateways(t *testing.T) {
	const each = 300
	a := everything("app")
	c := start(t, 3, settings{replicated: true, apps: []*app.App{a}})
	var peers, numbered []*peer
	for _, n := range c.nodes {
		p := n.connect(t, a)
		p.subscribe("ordered", "")
		peers = append(peers, p)
		v2 := dialV2(t, n.Addr(), a)
		ask := func() { v2.say(`{"event":"sockudo:subscribe","data":{"channel":"ordered"}}`) }
		ask()
		v2.subscribed("ordered", 0, 0, ask)
		numbered = append(numbered, v2)
	}
	var running sync.WaitGroup
	for i, n := range c.nodes {
		signed := n.sign(t, a)
		running.Go(func() {
			for k := range each {
				publish(t, signed, "ordered", fmt.Sprintf("%d %d", i, k))
			}
		})
	}
	running.Wait()
	var first []string
	for i, p := range peers {
		var got []string
		for _, m := range p.awaitN("tick", "ordered", 3*each) {
			got = append(got, m.str())
		}
		if i == 0 {
			first = got
		} else if !slices.Equal(got, first) {
			t.Errorf("SUB-13: gateway %d delivered in another order", i)
		}
		next := [3]int{}
		for _, text := range got {
			var by, k int
			if _, err := fmt.Sscan(text, &by, &k); err != nil || k != next[by] {
				t.Fatalf("SUB-12: %q came when %d of publisher %d was due", text, next[by], by)
			}
			next[by]++
		}
	}
	serials(t, numbered, first)
	body := fmt.Sprintf(`{"name":"except","channel":"ordered","data":"x","socket_id":%q}`, peers[2].id)
	if status := c.nodes[0].request(t, a, http.MethodPost, "/events", body, nil); status != http.StatusOK {
		t.Fatalf("EV-07: %d", status)
	}
	publish(t, c.nodes[0].sign(t, a), "ordered", "after")
	for i, p := range peers {
		p.awaitN("tick", "ordered", 3*each+1)
		if n := len(p.all("except", "ordered")); n != 1 && i != 2 || n != 0 && i == 2 {
			t.Errorf("EV-07: socket %d got it %d times", i, n)
		}
	}
}

// serials checks that V2 subscribers on all gateways got the events in this order, with the same serials and
// ids.
func serials(t *testing.T, numbered []*peer, order []string) {
	t.Helper()
	type event struct {
		Stream string `json:"stream_id"`
		Serial uint64
		ID     string `json:"message_id"`
	}
	var first []event
	for i, p := range numbered {
		var got []event
		var last uint64
		for n, m := range p.awaitN("tick", "ordered", len(order)) {
			var e event
			if err := json.Unmarshal([]byte(m.text), &e); err != nil || e.Stream == "" || e.ID == "" || e.Serial <= last || m.str() != order[n] {
				t.Fatalf("gateway %d sent %s behind serial %d, want data %q", i, m.text, last, order[n])
			}
			last = e.Serial
			got = append(got, e)
		}
		if i == 0 {
			first = got
		} else if !slices.Equal(got, first) {
			t.Errorf("gateway %d sent other serials", i)
		}
	}
}
