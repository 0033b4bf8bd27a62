package streams

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// BenchmarkMessage measures making the message of an event.
func BenchmarkMessage(b *testing.B) {
	c := newCredentials("app", []Secret{"secret"})
	ev := &broker.Event{
		Name: "update", Data: []byte(strings.Repeat(`{"symbol":"EURUSD","bid":1.08312,"ask":1.08329},`, 21)), Origin: broker.OriginHTTP, Node: "gateway-1-3f2a",
	}
	a := &appLog{}
	a.credentials.Store(c)
	b.Run("id", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = a.dedupID(broker.Outgoing{Channel: "prices", Event: ev})
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encode("ch.app.prices", ev, "abcdefghijklmnopqrstuvwxyz"); err != nil {
				b.Fatal(err)
			}
		}
	})
	m, err := encode("ch.app.prices", ev, "abcdefghijklmnopqrstuvwxyz")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.sign(m)
		}
	})
	b.Run("size", func(b *testing.B) {
		for b.Loop() {
			_ = m.Size()
		}
	})
}

// BenchmarkReadAck measures reading an acknowledgement.
func BenchmarkReadAck(b *testing.B) {
	m := &nats.Msg{Data: []byte(`{"stream":"CH_app","seq":1234567}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readAck(m, "CH_app"); err != nil {
			b.Fatal(err)
		}
	}
}
