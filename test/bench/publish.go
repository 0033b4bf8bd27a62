package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	publishConnections = 64
	publishBatch       = 10
	publishChannels    = 100
	publishBytes       = 1024
)

// round is the result of one turn of one way of publishing.
type round struct {
	Events  int64   `json:"events"`
	Seconds float64 `json:"seconds"`
	// Processor time in microseconds per event: of the gateways, of the processes that store, and of the
	// publisher.
	Gateway float64 `json:"gateway_us"`
	Store   float64 `json:"store_us"`
	Own     float64 `json:"own_us"`
	// Times of single requests in milliseconds.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func (r round) rate() float64 { return float64(r.Events) / r.Seconds }

// record holds the results of a way of publishing on a server.
type record struct {
	Log     string  `json:"log"`
	Program string  `json:"program"`
	Way     string  `json:"way"`
	Rounds  []round `json:"rounds"`
}

// ways are the ways of publishing. All send the same events.
var ways = []struct {
	name string
	run  func(ctx context.Context, t *target, period time.Duration) (round, error)
}{
	{"raw", func(ctx context.Context, t *target, d time.Duration) (round, error) {
		return publishRaw(ctx, t, d, func() nats.Header { return nil })
	}},
	{"raw with headers", func(ctx context.Context, t *target, d time.Duration) (round, error) {
		return publishRaw(ctx, t, d, func() nats.Header {
			return nats.Header{
				nats.MsgIdHdr: {rand.Text()}, "Event": {"update"}, "Origin": {"http"}, "Node": {"a-gateway-of-the-bench"}, "Proof": {rand.Text()[:22]},
			}
		})
	}},
	{"single", func(ctx context.Context, t *target, d time.Duration) (round, error) {
		return posting(ctx, t, d, publishConnections, 1, false)
	}},
	{"batch of ten", func(ctx context.Context, t *target, d time.Duration) (round, error) {
		return posting(ctx, t, d, publishConnections, publishBatch, false)
	}},
	{"one at a time", func(ctx context.Context, t *target, d time.Duration) (round, error) {
		return posting(ctx, t, d, 1, 1, false)
	}},
	{"new connections", func(ctx context.Context, t *target, d time.Duration) (round, error) {
		return posting(ctx, t, d, publishConnections, 1, true)
	}},
}

// publishData returns JSON in a string, as most publishers send it.
func publishData() string {
	return strings.Repeat(`{"symbol":"EURUSD","bid":1.08312,"ask":1.08329},`, publishBytes/48)
}

// bodies returns the requests that publishers repeat, with n events each in n channels, by the first of their
// channels. All publishers share them, so that they leave the processor caches to the measured server.
func bodies(n int) (path string, out []body, err error) {
	type event struct {
		Name    string `json:"name"`
		Channel string `json:"channel"`
		Data    string `json:"data"`
	}
	for k := range publishChannels {
		var batch []event
		for i := range n {
			batch = append(batch, event{"update", fmt.Sprintf("bench-%d", (k+i)%publishChannels), publishData()})
		}
		var text []byte
		if path = "/events"; n == 1 {
			text, err = json.Marshal(batch[0])
		} else {
			path = "/batch_events"
			text, err = json.Marshal(map[string]any{"batch": batch})
		}
		if err != nil {
			return "", nil, err
		}
		out = append(out, newBody(text))
	}
	return path, out, nil
}

// posting publishes by signed requests over a number of connections, as fast as possible.
func posting(ctx context.Context, t *target, period time.Duration, connections, n int, fresh bool) (round, error) {
	var group sync.WaitGroup
	errs := make([]error, connections)
	times := make([][]time.Duration, connections)
	posters := make([]*poster, connections)
	path, all, err := bodies(n)
	if err != nil {
		return round{}, err
	}
	for i := range connections {
		posters[i] = newPoster(t, i, fresh)
		defer posters[i].close()
		if err := posters[i].post(path, all[i%len(all)]); err != nil {
			return round{}, err
		}
	}
	m := startMeter(t)
	for i, p := range posters {
		group.Go(func() {
			for k := 0; time.Since(m.began) < period && errs[i] == nil && ctx.Err() == nil; k++ {
				began := time.Now()
				errs[i] = p.post(path, all[(7*i+k*n)%len(all)])
				times[i] = append(times[i], time.Since(began))
			}
		})
	}
	group.Wait()
	flat := slices.Concat(times...)
	r := m.stop(int64(len(flat) * n))
	r.P50, r.P99 = ms(quantile(flat, .5)), ms(quantile(flat, .99))
	return r, errors.Join(errs...)
}

// publishRaw publishes to NATS without a gateway. It does not wait for each acknowledgement separately;
// header returns the headers of each message.
func publishRaw(ctx context.Context, t *target, period time.Duration, header func() nats.Header) (round, error) {
	if len(t.nats) == 0 {
		return round{}, errSkip
	}
	nc, err := nats.Connect(strings.Join(t.nats, ","))
	if err != nil {
		return round{}, err
	}
	defer nc.Close()
	var failed atomic.Int64
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096),
		jetstream.WithPublishAsyncErrHandler(func(jetstream.JetStream, *nats.Msg, error) { failed.Add(1) }))
	if err != nil {
		return round{}, err
	}
	data := []byte(publishData())
	m := startMeter(t)
	var n int64
	for time.Since(m.began) < period && ctx.Err() == nil {
		for range 64 {
			subject := fmt.Sprintf("ch.%s.bench-%d", t.app, n%publishChannels)
			if _, err := js.PublishMsgAsync(&nats.Msg{Subject: subject, Header: header(), Data: data}, jetstream.WithStallWait(10*time.Second)); err != nil {
				return round{}, err
			}
			n++
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return round{}, ctx.Err()
	}
	if failed.Load() > 0 {
		return round{}, fmt.Errorf("%d raw publishes failed", failed.Load())
	}
	return m.stop(n), nil
}

var errSkip = errors.New("not for this server")

// meter measures the processor time of all involved processes.
type meter struct {
	target               *target
	began                time.Time
	gateways, store, own time.Duration
}

func startMeter(t *target) *meter {
	return &meter{t, time.Now(), spent(t.gateways), spent(t.stores), cpu()}
}

func (m *meter) stop(events int64) round {
	each := func(now, before time.Duration) float64 {
		return float64((now - before).Microseconds()) / float64(max(events, 1))
	}
	return round{
		Events: events, Seconds: time.Since(m.began).Seconds(),
		Gateway: each(spent(m.target.gateways), m.gateways), Store: each(spent(m.target.stores), m.store), Own: each(cpu(), m.own),
	}
}

// publishing measures all ways of publishing on all programs, alternately.
func publishing(s *scale) error {
	for _, log := range s.logs {
		copies := map[string]int{"embedded": 0, "r1": 1, "r3": 3}
		n, ok := copies[log]
		if !ok {
			return fmt.Errorf("-logs %s: must be some of embedded, r1 and r3", log)
		}
		if err := publishingTo(s, log, n); err != nil {
			return fmt.Errorf("%s: %w", log, err)
		}
	}
	fmt.Println()
	return nil
}

func publishingTo(s *scale, log string, copies int) error {
	dir, err := os.MkdirTemp("", "bench-publish-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	targets, stop, err := s.targets(dir, 1, copies)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	var records []*record
	for k := range s.rounds + 1 { // the first warms up
		for _, w := range ways {
			if len(s.ways) > 0 && !slices.Contains(s.ways, w.name) {
				continue
			}
			for i := range targets {
				t := targets[(i+k)%len(targets)]
				period := pick(k == 0, s.publishPeriod/4, s.publishPeriod)
				written := func() error { return nil }
				if k == s.rounds && s.profiles != "" {
					written = t.profile(ctx, s.profiles, log+"-"+strings.ReplaceAll(w.name, " ", "-")+"-", period)
				}
				r, err := w.run(ctx, t, period)
				err = errors.Join(err, written())
				switch {
				case errors.Is(err, errSkip):
				case err != nil:
					return fmt.Errorf("%s, %s: %w", t.name, w.name, err)
				case k > 0:
					records = noted(records, record{Log: log, Program: t.name, Way: w.name}, r)
				}
			}
		}
	}
	printPublishing(records)
	s.results.Publish = append(s.results.Publish, records...)
	return nil
}

// noted adds a round to its record.
func noted(records []*record, of record, r round) []*record {
	i := slices.IndexFunc(records, func(have *record) bool { return have.Program == of.Program && have.Way == of.Way })
	if i < 0 {
		i, records = len(records), append(records, &of)
	}
	records[i].Rounds = append(records[i].Rounds, r)
	return records
}

func printPublishing(records []*record) {
	fmt.Println("| log | program | way | events/s | gateway us/event | store us/event | publisher us/event | p50, ms | p99, ms |")
	fmt.Println("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
	of := func(r *record, format string, value func(round) float64) string {
		var all []float64
		for _, one := range r.Rounds {
			all = append(all, value(one))
		}
		sp := spreadOf(all)
		if sp.high == 0 {
			return "-"
		}
		return fmt.Sprintf(format+" ("+format+"-"+format+")", sp.median, sp.low, sp.high)
	}
	for _, r := range records {
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Log, r.Program, r.Way, of(r, "%.0f", round.rate),
			of(r, "%.1f", func(r round) float64 { return r.Gateway }), of(r, "%.1f", func(r round) float64 { return r.Store }),
			of(r, "%.1f", func(r round) float64 { return r.Own }), of(r, "%.2f", func(r round) float64 { return r.P50 }), of(r, "%.2f", func(r round) float64 { return r.P99 }))
	}
	fmt.Println()
}
