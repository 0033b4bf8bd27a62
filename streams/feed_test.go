package streams

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// counting is a sink that counts publications.
type counting struct{ n int }

func (s *counting) Publication(*broker.Publication) { s.n++ }
func (s *counting) Gap(broker.Gap)                  {}

// liveMessages returns n consecutive messages as the server republishes them.
func liveMessages(n int) []*nats.Msg {
	data := []byte(strings.Repeat("x", 200))
	at := time.Unix(1000, 0)
	out := make([]*nats.Msg, n)
	for i := range out {
		h := nats.Header{"Event": {"tick"}, nats.JSStream: {"CH_app"}, nats.JSSubject: {"ch.app.c"},
			nats.JSSequence: {strconv.Itoa(i + 1)}, nats.JSLastSequence: {strconv.Itoa(i)},
			nats.JSTimeStamp: {at.Add(time.Duration(i)).UTC().Format(time.RFC3339Nano)}}
		out[i] = &nats.Msg{Subject: "rt.app.c", Header: h, Data: data}
	}
	return out
}

// BenchmarkReceive measures one live message from the queue to the sink.
func BenchmarkReceive(b *testing.B) {
	sk := &counting{}
	f := alone(b, broker.Position{Epoch: "e"}, sk)
	f.app.stream, f.subject, f.log.opt.MaxData = "CH_app", "ch.app.c", 1<<20
	msgs := liveMessages(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for _, m := range msgs {
		f.receive(m)
	}
	if sk.n != b.N {
		b.Fatalf("%d of %d were delivered", sk.n, b.N)
	}
}
