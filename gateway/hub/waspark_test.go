package hub

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime07WhoAPositionWas: a replay leaves out events that exclude the former socket of the client. A later
// resume that names another socket does not change positions that are parked already.
func TestTime07WhoAPositionWas(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	at := r.publish("orders", "tick", "0")
	r.publish("bills", "tick", "0")
	r.publish("orders", "tick", "mine", func(e *broker.Event) { e.ExcludeSocket = "1.1" })
	r.publish("orders", "tick", "1")
	p, _ := r.second()
	for _, wish := range []string{
		fmt.Sprintf(`{"socket_id":"1.1","channel_positions":{"orders":{"stream_id":%q,"serial":%d}}}`, at.Epoch, at.Offset),
		fmt.Sprintf(`{"socket_id":"2.2","channel_positions":{"bills":{"stream_id":%q,"serial":%d}}}`, at.Epoch, at.Offset+1),
	} {
		p.say(`{"event":"sockudo:resume","data":%s}`, wish)
		p.summary()
	}
	p.join("orders", "")
	if got := p.events(1); got[0] != "1" {
		t.Errorf("got %v, which the client sent itself as 1.1", got)
	}
	if s := p.summary(); len(s.Recovered) != 1 || s.Recovered[0].Replayed != 1 {
		t.Errorf("got %+v", s)
	}
}
