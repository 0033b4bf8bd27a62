package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// ticker is a channel whose conflation values are published continuously.
type ticker struct {
	s          *server
	keys, size int
	rate       int

	mu sync.Mutex
	n  int
	// newest holds the last acknowledged event of each value.
	newest []acked
}

// acked is an acknowledged event and its position.
type acked struct {
	n      int
	serial uint64
}

// joining measures the server's cost of subscriptions that begin with a snapshot while the channel is
// published to: it compares a period with successive joins to one of the same length without.
func (s *server) joining(ctx context.Context, o options) error {
	c := &ticker{s: s, keys: o.keys, size: o.size, rate: o.joinRate, newest: make([]acked, o.keys)}
	if err := c.publish(ctx, o.keys, 0); err != nil {
		return err
	}
	publishing, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() { failed <- c.publish(publishing, 0, o.joinRate) }()
	defer stop()
	// One subscriber is there already, so that following the channel is not part of the cost.
	first, err := c.join(ctx, true)
	if err != nil {
		return err
	}
	defer first.close()
	fmt.Printf("%d values of %d bytes, %d events a second; the first, for whom the snapshot is made: %v, %d bytes, %.0f pages of the log\n",
		o.keys, o.size, o.joinRate, first.took.Round(time.Millisecond), first.bytes, first.reads)
	const blocks = 5
	var all []time.Duration
	var bytes int64
	reads, spent := 0.0, time.Duration(0)
	for range blocks {
		cpu, err := s.cpu()
		if err != nil {
			return err
		}
		began := time.Now()
		for range o.joiners / blocks {
			j, err := c.join(ctx, false)
			if err != nil {
				return err
			}
			all, bytes, reads = append(all, j.took), bytes+j.bytes, reads+j.reads
		}
		span := time.Since(began)
		after, err := s.cpu()
		if err != nil {
			return err
		}
		// The same period without joiners.
		if err := pause(ctx, span); err != nil {
			return err
		}
		end, err := s.cpu()
		if err != nil {
			return err
		}
		spent += (after - cpu) - (end - after)
	}
	stop()
	if err := <-failed; err != nil {
		return fmt.Errorf("publishing meanwhile: %w", err)
	}
	n := len(all)
	fmt.Printf("%d joined one after the other: each %d bytes, p50 %v, p99 %v from the request to snapshot_complete, %v of the server's processor time, %.2f pages of the log\n",
		n, bytes/int64(n), quantile(all, 0.5).Round(time.Millisecond/10), quantile(all, 0.99).Round(time.Millisecond/10),
		(spent / time.Duration(n)).Round(10*time.Microsecond), reads/float64(n))
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish publishes a number of events, or at a rate until ctx is done, each of the next value.
func (c *ticker) publish(ctx context.Context, events, rate int) error {
	type sent struct {
		ack    jetstream.PubAckFuture
		key, n int
	}
	acks := make(chan sent, 8192)
	var waiting sync.WaitGroup
	var lost atomic.Pointer[error]
	waiting.Go(func() {
		for a := range acks {
			select {
			case ack := <-a.ack.Ok():
				c.mu.Lock()
				if a.n > c.newest[a.key].n {
					c.newest[a.key] = acked{a.n, ack.Sequence}
				}
				c.mu.Unlock()
			case err := <-a.ack.Err():
				lost.Store(&err)
			}
		}
	})
	pad := strings.Repeat("x", max(c.size-30, 0))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	began, done := time.Now(), 0
	var err error
	for err == nil && ctx.Err() == nil && (rate > 0 || done < events) {
		due := events
		if rate > 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			due = int(time.Since(began).Seconds() * float64(rate))
		}
		for ; done < due && err == nil; done++ {
			c.n++
			// Neighbouring values are published far apart in time.
			key := c.n * 7919 % c.keys
			m := &nats.Msg{
				Subject: "ch.app-id.ticker", Data: fmt.Appendf(nil, `{"k":%d,"n":%d,"x":"%s"}`, key, c.n, pad),
				Header: nats.Header{"Conflation-Key": {strconv.Itoa(key)}},
			}
			var ack jetstream.PubAckFuture
			if ack, err = c.s.log.PublishMsgAsync(m); err == nil {
				acks <- sent{ack, key, c.n}
			}
		}
	}
	close(acks)
	waiting.Wait()
	if e := lost.Load(); e != nil {
		return errors.Join(err, *e)
	}
	return err
}

// joined is a subscriber that began with a snapshot.
type joined struct {
	client *client.Client
	took   time.Duration
	bytes  int64
	reads  float64
}

func (j *joined) close() { _ = j.client.Close() }

// join subscribes, waits for the snapshot, and compares it with the events that had been acknowledged before
// the request, up to the position where the subscription begins, because the gateway may lag. If stays is
// true, the connection stays open.
func (c *ticker) join(ctx context.Context, stays bool) (*joined, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var read atomic.Int64
	view, last, wrong := make([]int, c.keys), uint64(0), error(nil)
	complete := make(chan struct{})
	over, attached := false, uint64(0)
	j := &joined{}
	var err error
	j.client, err = client.Dial(ctx, client.Options{
		URL: c.s.url, Key: "app-key", Protocol: pusher.V2,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return &counted{conn, &read}, err
		},
		OnEvent: func(ev client.Event) {
			if over {
				return
			}
			if ev.Serial <= last {
				wrong = fmt.Errorf("serial %d came after %d", ev.Serial, last)
			}
			last = ev.Serial
			v := gjson.Parse(ev.Data)
			view[v.Get("k").Int()] = int(v.Get("n").Int())
		},
		OnControl: func(ev client.Event) {
			switch {
			case strings.HasSuffix(ev.Name, ":subscription_succeeded"):
				attached = ev.Serial
			case strings.HasSuffix(ev.Name, ":snapshot_complete"):
				over = true
				j.bytes = read.Load()
				close(complete)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if !stays {
		defer j.close()
	}
	c.mu.Lock()
	want := slices.Clone(c.newest)
	c.mu.Unlock()
	reads, err := c.s.reads()
	if err != nil {
		return nil, err
	}
	before, began := read.Load(), time.Now()
	if err := j.client.Subscribe(ctx, "ticker", client.WithLatest()); err != nil {
		return nil, err
	}
	select {
	case <-complete:
	case <-ctx.Done():
		return nil, fmt.Errorf("no snapshot: %w", ctx.Err())
	}
	j.took, j.bytes = time.Since(began), j.bytes-before
	after, err := c.s.reads()
	if err != nil {
		return nil, err
	}
	j.reads = after - reads
	if attached == 0 {
		return nil, errors.New("the success frame has no place")
	}
	for key, w := range want {
		if view[key] < w.n && w.serial <= attached {
			return nil, fmt.Errorf("value %d is that of event %d, and %d at %d was acknowledged before, of %d", key, view[key], w.n, w.serial, attached)
		}
	}
	return j, wrong
}

// counted is a connection that counts the bytes that are read.
type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// reads returns how many pages of the log the server has read for subscribers that lag.
func (s *server) reads() (float64, error) {
	answer, err := http.Get(s.metrics)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "sockudo_recovery_reads_total{"); ok {
			return strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		}
	}
	return 0, errors.New("the server does not count its readings")
}

// cpu returns the processor time that the server has used.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, may contain blanks.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
