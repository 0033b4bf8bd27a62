package fanout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// BenchmarkDeliver measures, per subscriber, the decision and the push for one publication, and taking the
// frame out again, without sockets.
func BenchmarkDeliver(b *testing.B) {
	for _, subscribers := range []int{1000, 10_000, 100_000} {
		for _, deltas := range []bool{false, true} {
			b.Run(fmt.Sprintf("subscribers=%d/deltas=%v", subscribers, deltas), func(b *testing.B) {
				s := newStage(false, 64, 1, 100)
				c := s.channels[0]
				var f Form
				if deltas {
					f = Delta | Keyed
				}
				for range subscribers {
					sock := s.shard.Open(nil, s.kind)
					c.Shards[0].Put(&Entry{Sock: sock, Form: f, Greet: func(Start) { sock.Send(s.hall.Reconnect) }})
					sock.Outbox().Take(nil)
				}
				s.shard.dirtied = nil
				var batch []*socket.Frame
				n := 0
				b.ReportAllocs()
				for b.Loop() {
					n++
					pub := &broker.Publication{
						Event:    broker.Event{Name: "tick", Data: fmt.Appendf(nil, `{"k":"a","n":%d,"pad":%q}`, n, strings.Repeat("steady ", 60))},
						Position: broker.Position{Epoch: "e", Offset: uint64(n)}, Prev: uint64(n - 1), Time: s.now,
					}
					c.prepare(pub).deliver(s.shard, &c.Shards[0])
					for _, o := range s.shard.loop.dirty {
						batch, _ = o.Take(batch[:0])
					}
					s.shard.loop.dirty = s.shard.loop.dirty[:0]
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*subscribers), "ns/subscriber")
			})
		}
	}
}

// BenchmarkEventStreams does the same for readers of event streams, for an event that passes their filter and
// one that does not. A reader of three channels needs frames of its own.
func BenchmarkEventStreams(b *testing.B) {
	const readers = 1000
	filter, err := pusher.ParseFilter(`{"events":["wanted"]}`)
	if err != nil {
		b.Fatal(err)
	}
	for _, channels := range [][]string{{"ch0"}, {"ch0", "b", "c"}} {
		for _, name := range []string{"wanted", "other"} {
			b.Run(fmt.Sprintf("channels=%d/%s", len(channels), name), func(b *testing.B) {
				s := newStage(false, 64, 1, 100)
				c := s.channels[0]
				for range readers {
					sock := s.shard.Open(nil, s.kind)
					places := NewPlaces(channels, nil, app.Recovery{Enabled: true, MaxEvents: 100, MaxBytes: 4 << 20})
					c.Shards[0].Put(&Entry{Sock: sock, Form: Events, Filter: filter, Place: places.Of("ch0"), Greet: func(Start) {}})
				}
				var batch []*socket.Frame
				n := 0
				b.ReportAllocs()
				for b.Loop() {
					n++
					pub := &broker.Publication{
						Event:    broker.Event{Name: name, Data: fmt.Appendf(nil, `{"k":"a","n":%d,"pad":%q}`, n, strings.Repeat("steady ", 60))},
						Position: broker.Position{Epoch: "e", Offset: uint64(n)}, Prev: uint64(n - 1), Time: s.now,
					}
					c.prepare(pub).deliver(s.shard, &c.Shards[0])
					for _, o := range s.shard.loop.dirty {
						batch, _ = o.Take(batch[:0])
					}
					s.shard.loop.dirty = s.shard.loop.dirty[:0]
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*readers), "ns/reader")
			})
		}
	}
}
