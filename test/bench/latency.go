package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
)

// arrivals receives what the feed delivers. The data of each event is the publisher's clock reading.
type arrivals struct {
	times chan time.Time
	count atomic.Int64
	gaps  atomic.Int64
}

// Publication implements [broker.Sink].
func (a *arrivals) Publication(*broker.Publication) {
	a.count.Add(1)
	select {
	case a.times <- time.Now():
	default:
	}
}

// Gap implements [broker.Sink].
func (a *arrivals) Gap(broker.Gap) { a.gaps.Add(1) }

// latency measures an event's path through the embedded log on disk: from the call of Publish to the
// acknowledgement, and to the feed of a gateway.
func latency(short bool) error {
	n := 5000
	if short {
		n = 1000
	}
	dir, err := os.MkdirTemp("", "bench-log-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Options{Port: -1, StoreDir: dir})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	log, err := streams.Open(ctx, streams.Options{
		Apps: []streams.AppOptions{{ID: "app", Secrets: []streams.Secret{"secret"}, MaxMessages: -1}}, ConnectOptions: server.ConnectOptions(),
	})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	sink := &arrivals{times: make(chan time.Time, 1)}
	attachment, err := log.Attach(ctx, "app", benchChannel, sink)
	if err != nil {
		return err
	}
	defer attachment.Detach()

	event := &broker.Event{Name: "tick", Data: fixed(1024).next()}
	var stored, received []time.Duration
	for i := range n + n/10 {
		t := time.Now()
		if _, err := log.Publish(ctx, "app", broker.Outgoing{Channel: benchChannel, Event: event}); err != nil {
			return err
		}
		acked := time.Since(t)
		var at time.Time
		select {
		case at = <-sink.times:
		case <-ctx.Done():
			return fmt.Errorf("event %d did not arrive: %w", i, ctx.Err())
		}
		if i >= n/10 { // the first ones warm up
			stored, received = append(stored, acked), append(received, at.Sub(t))
		}
	}
	fmt.Printf("One event of 1,024 B at a time through the embedded log on disk, %d events:\n\n", n)
	fmt.Println("| from Publish to | p50 | p99 |")
	fmt.Println("| --- | ---: | ---: |")
	fmt.Printf("| the acknowledgement | %.3f ms | %.3f ms |\n", ms(quantile(stored, .5)), ms(quantile(stored, .99)))
	fmt.Printf("| the gateway's feed | %.3f ms | %.3f ms |\n\n", ms(quantile(received, .5)), ms(quantile(received, .99)))
	if gaps := sink.gaps.Load(); gaps > 0 {
		return fmt.Errorf("%d gaps", gaps)
	}
	return nil
}
