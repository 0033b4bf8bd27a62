package streams

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
)

type nothing struct{ n int }

func (s *nothing) Publication(*broker.Publication) { s.n++ }
func (s *nothing) Gap(broker.Gap)                  {}

func BenchmarkReceive(b *testing.B) {
	sk := &nothing{}
	f := alone(b, broker.Position{Epoch: "e"}, sk)
	f.app.stream, f.subject, f.log.opt.MaxData = "CH_app", "ch.app.c", 1<<20
	msgs := hotMessages(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		f.receive(msgs[i])
	}
	if sk.n != b.N {
		b.Fatal(sk.n, b.N)
	}
}
