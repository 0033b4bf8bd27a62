package client_test

import (
	"bytes"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestTheLargestEventComesThrough: an event of a megabyte, the most that an app may allow, is six megabytes
// in a frame if each character needs an escape. Before, a client with a lower limit lost its connection to
// it, resumed, and lost the next one as well.
func TestTheLargestEventComesThrough(t *testing.T) {
	for _, protocol := range []pusher.Dialect{pusher.V1, pusher.V2} {
		log := newLog(t)
		url, _ := serve(t, log, "127.0.0.1:0")
		lost := make(chan client.Status, 100)
		c := dial(t, client.Options{URL: url, Protocol: protocol, Reconnect: true, OnStatus: func(s client.Status) { lost <- s }})
		if err := c.Subscribe(within(t), "c"); err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte{1}, 1<<20-100)
		if _, err := log.Publish(within(t), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: data, Origin: broker.OriginHTTP}}); err != nil {
			t.Fatal(err)
		}
		select {
		case ev := <-c.Events():
			if ev.Data != string(data) {
				t.Errorf("it has %d bytes in a frame of %d", len(ev.Data), ev.FullBytes)
			}
		case s := <-lost:
			t.Errorf("the connection is lost: %v", s.Err)
		}
		_ = c.Close()
	}
}
