package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/rest"
)

// clock moves only when told to. It begins at the present time, because the rig signs with the real time, and
// a signature may be at most 600 s off.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lossy is a log that cannot deliver events named "broken".
type lossy struct{ rest.Log }

func (l lossy) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	page, err := l.Log.Read(ctx, app, channel, q)
	if err != nil {
		return nil, err
	}
	for i, p := range page.Publications {
		if p.Name == "broken" {
			marked := *p
			marked.Skipped = "not UTF-8"
			page.Publications[i] = &marked
		}
	}
	return page, nil
}

func TestEV20_WhatACacheChannelRemembers(t *testing.T) {
	c := newClock()
	log, err := memory.New(memory.Options{Apps: []string{"app"}, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	r := newRig(t, func(o *rest.Options) {
		o.Census, o.Log, o.Now, o.CacheTTL = someone(), lossy{log}, c.Now, time.Minute
	})
	const path = "/channels/cache-price?info=cache"
	publish := func(name, data string, origin broker.Origin) {
		t.Helper()
		_, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "cache-price", Event: &broker.Event{
			Name: name, Data: []byte(data), Origin: origin,
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, cached string) {
		t.Helper()
		r.get(path).says(t, what, `{"cache":`+cached+`,"occupied":true}`)
	}
	remembered := func(data string, ttl int) string { return fmt.Sprintf(`{"data":%q,"ttl":%d}`, data, ttl) }

	expect("nothing was published", "null")
	if a := r.publish(`{"name":"n","channel":"cache-price","data":{"x": 1.50}}`); a.Status != http.StatusOK {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	expect("fresh", remembered(`{"x": 1.50}`, 60))
	c.pass(45 * time.Second)
	expect("later", remembered(`{"x": 1.50}`, 15))
	c.pass(14*time.Second + 700*time.Millisecond)
	expect("in its last second", remembered(`{"x": 1.50}`, 1))
	c.pass(300 * time.Millisecond)
	expect("expired", "null")

	publish("n", "raw", broker.OriginRaw)
	publish("client-n", "of a client", broker.OriginClient)
	publish("broken", "skipped", broker.OriginHTTP)
	expect("client events and skipped ones are not remembered", remembered("raw", 60))
	for range 300 { // More than the first read returns.
		publish("client-n", "of a client", broker.OriginClient)
	}
	expect("with 301 after it", remembered("raw", 60))
	r.get("/channels/cache-price").says(t, "EV-19 not asked", `{"occupied":true}`)
}

func TestEV20_AClockBehindThatOfTheLog(t *testing.T) {
	c := newClock()
	log, err := memory.New(memory.Options{Apps: []string{"app"}, Now: func() time.Time { return c.Now().Add(5 * time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	r := newRig(t, func(o *rest.Options) { o.Census, o.Log, o.Now = someone(), log, c.Now })
	r.publish(`{"name":"n","channel":"cache-price","data":"d"}`)
	r.get("/channels/cache-price?info=cache").says(t, "default ttl", `{"cache":{"data":"d","ttl":1800},"occupied":true}`)
}

// mute is a log whose history cannot be read.
type mute struct{ rest.Log }

func (mute) Read(context.Context, string, string, broker.Query) (*broker.Page, error) {
	return nil, fmt.Errorf("nobody answers: %w", broker.ErrUnavailable)
}

func TestEV20_WithoutTheLogTheAnswerIs503(t *testing.T) {
	r := newRig(t, func(o *rest.Options) { o.Census, o.Log = someone(), mute{o.Log} })
	r.get("/channels/cache-price?info=cache").refused(t, "cache", http.StatusServiceUnavailable, "service_unavailable", "")
	r.get("/channels/cache-price").says(t, "without cache", `{"occupied":true}`)
}
