package memory_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

type counter struct{ n atomic.Int64 }

func (c *counter) Publication(*broker.Publication) { c.n.Add(1) }
func (c *counter) Gap(broker.Gap)                  {}

func BenchmarkPublish(b *testing.B) {
	for _, attachments := range []int{0, 1} {
		b.Run(fmt.Sprintf("attachments=%d", attachments), func(b *testing.B) {
			log, err := memory.New(memory.Options{Apps: []string{"a"}})
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			for range attachments {
				if _, err := log.Attach(b.Context(), "a", "c", &counter{}); err != nil {
					b.Fatal(err)
				}
			}
			ev := &broker.Event{Name: "update", Data: make([]byte, 512), DedupID: "",
				Tags: map[string]string{"symbol": "AAPL"}}
			out := broker.Outgoing{Channel: "c", Event: ev}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := log.Publish(b.Context(), "a", out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	log, err := memory.New(memory.Options{Apps: []string{"a"}})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for range 1000 {
		publish(b, log, "c", "x")
	}
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("limit=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q := broker.Query{Limit: n, NewestFirst: true}
				if _, err := log.Read(b.Context(), "a", "c", q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
