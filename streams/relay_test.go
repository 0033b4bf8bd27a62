package streams

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// slowAt is a sink that blocks at one publication.
type slowAt struct {
	offset  uint64
	blocked chan struct{}
	resume  chan struct{}
	came    chan uint64
}

func (s *slowAt) Publication(p *broker.Publication) {
	if p.Offset == s.offset {
		close(s.blocked)
		<-s.resume
	}
	s.came <- p.Offset
}
func (s *slowAt) Gap(broker.Gap) {}

// TestWayIn04WhatWaitsIsReadMeanwhile: while a sink blocks, messages for its shard are read, and they are
// delivered in order afterwards.
func TestWayIn04WhatWaitsIsReadMeanwhile(t *testing.T) {
	t.Parallel()
	opt := options(node(t, t.TempDir()))
	opt.FeedShards, opt.AuditInterval = 1, time.Hour
	l := open(t, opt)
	// The messages below are not in the log. Holding the app's turn keeps the audit from finding that out.
	l.apps.Of("app-1").turn <- struct{}{}
	const n = 3 * inTransit
	sk := &slowAt{blocked: make(chan struct{}), resume: make(chan struct{}), came: make(chan uint64, n)}
	sk.offset = 3
	at, err := l.Attach(t.Context(), "app-1", "c", sk)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	s := l.shards[0]
	for i := range uint64(n) {
		h := nats.Header{nats.JSStream: {"CH_app-1"}, nats.JSSubject: {"ch.app-1.c"}, nats.JSSequence: {strconv.FormatUint(i+1, 10)},
			nats.JSLastSequence: {strconv.FormatUint(i, 10)}, nats.JSTimeStamp: {time.Unix(1000, int64(i)).UTC().Format(time.RFC3339Nano)}}
		s.in <- &nats.Msg{Subject: liveSubject("", "app-1", "c"), Header: h, Data: []byte("1")}
		s.relay.arrived()
		if i == 2 {
			<-sk.blocked
		}
	}
	close(sk.resume)
	for want := uint64(1); want <= n; want++ {
		if got := <-sk.came; got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	}
}

// BenchmarkDelivery measures one event from its publisher to the sink of its channel, without other load.
func BenchmarkDelivery(b *testing.B) {
	s := node(&testing.T{}, b.TempDir())
	defer s.Shutdown()
	l, err := Open(b.Context(), options(s))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	sk := &slowAt{came: make(chan uint64, 1)}
	if _, err := l.Attach(b.Context(), "app-1", "c", sk); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 1024)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := l.Publish(b.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: data}}); err != nil {
			b.Fatal(err)
		}
		<-sk.came
	}
}
