package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/gateway/client"
)

// readers pages through a channel in both directions while it is published to, and compares the latency of
// live events with and without ten such readers.
func (s *server) readers(ctx context.Context, o options) error {
	api, err := client.NewSigned(client.SignedOptions{URL: s.url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
	if err != nil {
		return err
	}
	live, err := client.Dial(ctx, client.Options{URL: s.url, Key: "app-key"})
	if err != nil {
		return err
	}
	defer live.Close()
	if err := live.Subscribe(ctx, "live"); err != nil {
		return err
	}
	publishing, stop := context.WithCancel(ctx)
	var growing sync.WaitGroup
	growing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-publishing.Done():
				return
			case <-tick.C:
				_, _ = s.log.PublishMsg(publishing, &nats.Msg{Subject: "ch.app-id.most", Data: []byte("later")})
			}
		}
	})
	defer func() { stop(); growing.Wait() }()
	alone, own, err := s.latency(ctx, live, o.live)
	if err != nil {
		return err
	}
	crowd, err := spawnReaders(ctx, s.url, o.nice)
	if err != nil {
		return err
	}
	beside, spent, err := s.latency(ctx, live, o.live)
	read, failed := crowd.end()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	fmt.Printf("live p99 %v alone, %v beside ten readers, who read %d pages of 100, each for %v of the server's processor time\n",
		alone, beside, read, ((spent - own) / time.Duration(max(read, 1))).Round(10*time.Microsecond))
	var pages atomic.Int64
	for _, oldestFirst := range []bool{true, false} {
		got, err := walk(ctx, api, oldestFirst, &pages)
		if err != nil {
			return err
		}
		fmt.Printf("oldest first %t: %d events, each once, while more was published\n", oldestFirst, got)
		if got < o.events {
			return fmt.Errorf("%d events, at least %d were published", got, o.events)
		}
	}
	if o.ratio > 0 && float64(beside) > o.ratio*float64(alone) {
		return fmt.Errorf("live events take %.1f times as long beside ten readers; it should be %v", float64(beside)/float64(alone), o.ratio)
	}
	return nil
}

// walk reads all pages of the channel as it was at the beginning, and returns the number of their events.
// Each event must come once and in order.
func walk(ctx context.Context, api *client.Signed, oldestFirst bool, pages *atomic.Int64) (got int, err error) {
	newest, err := api.History(ctx, "most", client.HistoryQuery{Limit: 1})
	if err != nil {
		return 0, err
	}
	q := client.HistoryQuery{OldestFirst: oldestFirst, Limit: 100, EndSerial: newest.Continuity.NewestSerial}
	for last := uint64(0); ; {
		page, err := api.History(ctx, "most", q)
		if err != nil {
			return got, err
		}
		pages.Add(1)
		for _, i := range page.Items {
			if last > 0 && (i.Serial > last) != oldestFirst || i.Serial == last {
				return got, fmt.Errorf("serial %d comes after %d", i.Serial, last)
			}
			last = i.Serial
			got++
		}
		if !page.HasMore {
			return got, nil
		}
		q.Cursor = page.NextCursor
	}
}

// latency publishes a hundred events a second and returns their p99 latency and the processor time that the
// server used meanwhile.
func (s *server) latency(ctx context.Context, live *client.Client, span time.Duration) (p99, spent time.Duration, err error) {
	var took []time.Duration
	began, err := s.cpu()
	if err != nil {
		return 0, 0, err
	}
	for end := time.Now().Add(span); time.Now().Before(end); {
		if _, err := s.log.Publish(ctx, "ch.app-id.live", strconv.AppendInt(nil, time.Now().UnixNano(), 10)); err != nil {
			return 0, 0, err
		}
		select {
		case ev, open := <-live.Events():
			if !open {
				return 0, 0, live.Err()
			}
			sent, err := strconv.ParseInt(ev.Data, 10, 64)
			if err != nil {
				return 0, 0, err
			}
			took = append(took, ev.Received.Sub(time.Unix(0, sent)))
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
		timer := time.NewTimer(10 * time.Millisecond)
		<-timer.C
	}
	ended, err := s.cpu()
	return quantile(took, 0.99), ended - began, err
}
