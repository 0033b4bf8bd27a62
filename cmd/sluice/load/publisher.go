package load

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// eventName is the event name of a run's messages.
const eventName = "bench"

// publisher publishes messages when they are due, to the channels in turn.
type publisher struct {
	run  *Run
	api  *client.Signed
	http *http.Transport
	// answered has the latencies of the answers to messages that were due during the measurement.
	answered *recorder
	late     *recorder
	// sent and accepted count messages that were due during the measurement.
	sent, accepted atomic.Int64
	// stored counts accepted messages by channel.
	stored []atomic.Int64
	held   time.Duration
}

func (r *Run) newPublisher() (*publisher, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.MaxConnsPerHost = r.opt.InFlight, r.opt.InFlight, r.opt.InFlight
	transport.DisableCompression = true
	transport.TLSClientConfig = r.opt.Target.TLS.Clone()
	t := &r.opt.Target
	api, err := client.NewSigned(client.SignedOptions{
		URL: t.URL, AppID: t.AppID, Key: t.Key, Secret: t.Secret, HTTP: &http.Client{Transport: transport, Timeout: r.opt.Timeout},
	})
	if err != nil {
		return nil, err
	}
	return &publisher{
		run: r, api: api, http: transport, answered: newRecorder("publish to answer", 8), late: r.late,
		stored: make([]atomic.Int64, len(r.channels)),
	}, nil
}

// publish publishes from begin to end; until from it warms up. It returns when everything was answered. Messages
// that are due between from and end are measured. The result is the end of the measurement, which is earlier if
// it was interrupted. The caller passes the same times to the code that counts deliveries, because two readings
// of a clock differ.
func (p *publisher) publish(ctx context.Context, begin, from, end time.Duration, doing func() (float64, string)) time.Duration {
	defer p.run.progress(doing)()
	d := p.run.dispatcher(p.run.opt.Rate, p.run.opt.InFlight, p.late)
	var work sync.WaitGroup
	// Requests in flight at an interruption are still answered, or time out.
	sending := context.WithoutCancel(ctx)
	p.held += d.run(ctx, begin, end, func(n int, due time.Duration) {
		work.Go(func() {
			defer func() { <-d.places }()
			p.one(sending, n, due, due >= from)
		})
	})
	if ctx.Err() != nil {
		end = max(from, p.run.now())
	}
	work.Wait()
	return end
}

func (p *publisher) one(ctx context.Context, n int, due time.Duration, measured bool) {
	channel := n % len(p.run.channels)
	err := p.api.Publish(ctx, client.Publish{
		Name: eventName, Data: p.run.marker.data(channel, due, p.run.opt.Size), Channels: []string{p.run.channels[channel]},
	})
	took := p.run.now() - due
	if err != nil {
		p.run.fail("publish", err)
	}
	if !measured {
		return
	}
	p.sent.Add(1)
	if err == nil {
		p.accepted.Add(1)
		p.stored[channel].Add(1)
		p.answered.record(n, took)
	}
}

func (p *publisher) close() { p.http.CloseIdleConnections() }
