package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// recoveryConfig lets clients miss as many events as a restart may cost them here.
const recoveryConfig = `
connection_recovery: {enabled: true, max_buffer_size: 2000}
apps:
  - id: app-id
    key: app-key
    secret: app-secret
    channel_delta_compression: {market: {conflation_key: symbol}}
`

// feed publishes numbered events on some channels, in order, whether the server is there or not: a failed
// publish is repeated with the same idempotency key.
type feed struct {
	at       atomic.Pointer[string]
	channels []string
	sent     atomic.Int64
	done     chan error
}

func (f *feed) run(ctx context.Context, events int) {
	defer close(f.done)
	for n := range events {
		pad := strings.Repeat("the same on every message, so that a delta is worth it ", 12)
		p := client.Publish{
			Name: "tick", Channels: f.channels, IdempotencyKey: fmt.Sprint("feed-", n),
			Data: fmt.Sprintf(`{"symbol":%q,"n":%d,"pad":%q,"more":[1,2,3,4,5,6,7,8,9]}`, []string{"BTC", "ETH", "DOGE"}[n%3], n, pad),
		}
		for {
			api, err := client.NewSigned(client.SignedOptions{URL: "http://" + *f.at.Load(), AppID: appID, Key: appKey, Secret: app.Secret(appSecret)})
			if err != nil {
				f.done <- err
				return
			}
			if err = api.Publish(ctx, p); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				f.done <- fmt.Errorf("event %d: %w", n, err)
				return
			case <-time.After(20 * time.Millisecond): // The server is away.
			}
		}
		f.sent.Add(1)
	}
}

// TestRE12NeitherGapNorRepeatOverARestart has a stand-in for the JavaScript client, which recovers as that
// does, follow channels over restarts of the server, stopped and killed, on one store. The restarted server
// takes publishes before the clients find it.
func TestRE12NeitherGapNorRepeatOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, recoveryConfig))
	board := newSwitchboard(t, s.HTTP)
	host, port, _ := strings.Cut(board.Addr().String(), ":")
	f := &feed{channels: []string{"market", "private-market"}, done: make(chan error, 1)}
	f.at.Store(&s.HTTP)
	type line struct {
		Channel, Form, Problem string
		N                      int
		Subscribed             bool
		Recovered, Failed      *int
		Repeats                int
	}
	type standIn struct {
		*node
		algorithm string
		seen      map[string]int
		forms     map[string]int
		resumed   int
	}
	const events, returns = 900, 3
	// read reads a client's lines until it has resumed that often and has that many events.
	read := func(c *standIn, resumed, until int) {
		t.Helper()
		for c.resumed < resumed || c.seen[f.channels[0]] < until || c.seen[f.channels[1]] < until {
			var l line
			c.line(&l)
			switch {
			case l.Problem != "" || l.Failed != nil && *l.Failed > 0:
				t.Fatalf("%s: %+v", c.algorithm, l)
			case l.Recovered != nil:
				c.resumed += *l.Recovered
			case l.Channel != "":
				if l.N != c.seen[l.Channel] {
					t.Fatalf("%s: %d came on %s, want %d", c.algorithm, l.N, l.Channel, c.seen[l.Channel])
				}
				c.seen[l.Channel]++
				c.forms[l.Form]++
			}
		}
	}
	var all []*standIn
	for _, algorithm := range []string{"none", "fossil", "xdelta3"} {
		c := &standIn{algorithm: algorithm, seen: map[string]int{}, forms: map[string]int{}}
		c.node = script(t, "resume.mjs", append([]string{host, port, appKey, appSecret, algorithm}, f.channels...)...)
		for subscribed := false; !subscribed; {
			var l line
			c.line(&l)
			subscribed = l.Subscribed
		}
		all = append(all, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	go f.run(ctx, events)
	for i := range returns {
		for _, c := range all {
			read(c, 2*i, (i+1)*events/(returns+3))
		}
		if i%2 == 1 {
			s.kill()
		} else {
			s.stop()
		}
		s = serve(t, dir, config(dir, recoveryConfig))
		f.at.Store(&s.HTTP)
		missed := f.sent.Load() + 30
		eventually(t, "events were published that no client has", func() bool { return f.sent.Load() >= min(missed, events) })
		board.to.Store(&s.HTTP)
	}
	for _, c := range all {
		read(c, 2*returns, events)
		t.Logf("%s: %v", c.algorithm, c.forms)
		if c.algorithm != "none" && c.forms["delta"] == 0 {
			t.Errorf("%s: no event came as a delta", c.algorithm)
		}
	}
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}
