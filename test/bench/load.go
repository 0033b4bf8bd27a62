package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	loadNodes    = 3
	loadSockets  = 900
	loadChannels = 100
	// loadPublishers is the largest number of concurrent publishers. A publish that is due while all are busy
	// is sent late; its delay counts from its due time.
	loadPublishers = 64
	loadBytes      = 256
	// loadPatience bounds the wait for deliveries after the last publish.
	loadPatience = 10 * time.Second
)

// loadRound is the result of one rate for a period.
type loadRound struct {
	Publishes  int64 `json:"publishes"`
	Failed     int64 `json:"failed"`
	Deliveries int64 `json:"deliveries"`
	Missing    int64 `json:"missing"`
	// Delays from the intended sending time to arrival at a socket, in milliseconds.
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	// Processor time in microseconds per publish, or per second if nothing is published.
	Gateways float64 `json:"gateways_us"`
	Stores   float64 `json:"stores_us"`
	Own      float64 `json:"own_us"`
}

// loadRecord holds the rounds of one rate on one server.
type loadRecord struct {
	Program     string      `json:"program"`
	Connections string      `json:"connections"`
	Rate        int         `json:"rate"`
	Rounds      []loadRound `json:"rounds"`
}

// loads drives three nodes at fixed rates, alternately.
func loads(s *scale) error {
	if s.short {
		s.rates, s.rounds = []int{200, 2000}, 1
	}
	dir, err := os.MkdirTemp("", "bench-load-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	targets, stop, err := s.targets(dir, loadNodes, 1)
	if err != nil {
		return err
	}
	defer stop()
	crowds := map[*target]*audience{}
	for _, t := range targets {
		if crowds[t], err = gather(t, loadSockets, loadChannels); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		defer crowds[t].leave()
	}
	period := pick(s.short, 2*time.Second, 5*time.Second)
	fmt.Printf("%d nodes, one NATS server for ours, %d sockets on %d channels, %d B, %s for each rate; from the intended time of sending to each socket.\n\n",
		loadNodes, loadSockets, loadChannels, loadBytes, period)
	fmt.Println("| connections | publishes/s | program | p50 | p95 | p99 | gateways us/publish | stores us/publish | sum | clients us/publish | missing | failed |")
	fmt.Println("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, kind := range s.kinds {
		for _, rate := range s.rates {
			var records []*loadRecord
			for _, t := range targets {
				records = append(records, &loadRecord{Program: t.name, Connections: kind, Rate: rate})
			}
			for k := range s.rounds {
				for i := range targets {
					at := (i + k) % len(targets)
					written := func() error { return nil }
					if k == s.rounds-1 && s.profiles != "" {
						written = targets[at].profile(context.Background(), s.profiles, fmt.Sprintf("load-%s-%d-", kind, rate), period)
					}
					r, err := load(targets[at], crowds[targets[at]], rate, period, kind == "new")
					err = errors.Join(err, written())
					if err != nil {
						return fmt.Errorf("%s, %d a second: %w", targets[at].name, rate, err)
					}
					records[at].Rounds = append(records[at].Rounds, r)
				}
			}
			printLoad(records)
			s.results.Load = append(s.results.Load, records...)
		}
	}
	fmt.Println()
	return nil
}

// rest publishes nothing for a period.
func rest(t *target, period time.Duration) loadRound {
	m := startMeter(t)
	time.Sleep(period)
	r := m.stop(1)
	seconds := period.Seconds()
	return loadRound{Gateways: r.Gateway / seconds, Stores: r.Store / seconds, Own: r.Own / seconds}
}

// load publishes at a rate and waits for all deliveries.
func load(t *target, crowd *audience, rate int, period time.Duration, fresh bool) (loadRound, error) {
	runtime.GC()
	if rate == 0 {
		return rest(t, period), nil
	}
	times := &waits{}
	crowd.waits.Store(times)
	total := int64(float64(rate) * period.Seconds())
	pad := strings.Repeat("x", loadBytes-24)
	var next, failed atomic.Int64
	var first atomic.Pointer[error]
	m := startMeter(t)
	began := time.Now().Add(10 * time.Millisecond)
	var group sync.WaitGroup
	for i := range loadPublishers {
		group.Go(func() {
			p := newPoster(t, i, fresh)
			defer p.close()
			var text []byte
			for {
				k := next.Add(1) - 1
				if k >= total {
					return
				}
				// An idle publisher takes the next event and sleeps until it is due.
				due := began.Add(time.Duration(k) * time.Second / time.Duration(rate))
				time.Sleep(time.Until(due))
				text = fmt.Appendf(text[:0], `{"name":"update","channel":"load-%d","data":"t=%d;%s"}`, k%loadChannels, due.UnixNano(), pad)
				if err := p.post("/events", newBody(text)); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
					p.close()
				}
			}
		})
	}
	group.Wait()
	if failed.Load() == total {
		return loadRound{}, errors.Join(errors.New("no publish was accepted"), *first.Load())
	}
	want := (total - failed.Load()) * loadSockets / loadChannels
	for end := time.Now().Add(loadPatience); times.count() < want && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	r := m.stop(total)
	return loadRound{
		Publishes: total, Failed: failed.Load(), Deliveries: times.count(), Missing: want - times.count(),
		P50: times.quantile(.5), P95: times.quantile(.95), P99: times.quantile(.99), Gateways: r.Gateway, Stores: r.Store, Own: r.Own,
	}, nil
}

func printLoad(records []*loadRecord) {
	for _, r := range records {
		of := func(format string, value func(loadRound) float64) string {
			var all []float64
			for _, one := range r.Rounds {
				all = append(all, value(one))
			}
			sp := spreadOf(all)
			return fmt.Sprintf(format+" ("+format+"-"+format+")", sp.median, sp.low, sp.high)
		}
		var missing, failed int64
		for _, one := range r.Rounds {
			missing, failed = missing+one.Missing, failed+one.Failed
		}
		fmt.Printf("| %s | %d | %s | %s ms | %s ms | %s ms | %s | %s | %s | %s | %d | %d |\n", r.Connections, r.Rate, r.Program,
			of("%.1f", func(r loadRound) float64 { return r.P50 }), of("%.1f", func(r loadRound) float64 { return r.P95 }), of("%.1f", func(r loadRound) float64 { return r.P99 }),
			of("%.0f", func(r loadRound) float64 { return r.Gateways }), of("%.0f", func(r loadRound) float64 { return r.Stores }),
			of("%.0f", func(r loadRound) float64 { return r.Gateways + r.Stores }), of("%.0f", func(r loadRound) float64 { return r.Own }), missing, failed)
	}
}
