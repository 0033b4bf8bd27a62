package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

// crossings records the limits that refused a request.
type crossings struct {
	mu   sync.Mutex
	list []string
}

func (c *crossings) note(app, limit string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, app+" "+limit)
}

// taken returns the limits recorded since the last call.
func (c *crossings) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// bounded returns a rig with limits for all apps.
func bounded(t *testing.T, set func(*app.Limits)) (*rig, *clock, *crossings) {
	c, crossed := newClock(), &crossings{}
	r := newRig(t, func(o *rest.Options) {
		for _, id := range o.Apps.IDs() {
			set(&o.Apps.ByID(id).Limits)
		}
		o.Now, o.Limited, o.Census = c.Now, crossed.note, someone()
		o.Terminate = func(context.Context, *app.App, string) error { return nil }
	})
	return r, c, crossed
}

// over checks a response of 429.
func (a answer) over(t *testing.T, what, names string, retryAfter string) {
	t.Helper()
	a.refused(t, what, http.StatusTooManyRequests, "rate_limited", names)
	if got := a.Header.Get("Retry-After"); got != retryAfter {
		t.Errorf("%s: Retry-After is %q, want %q", what, got, retryAfter)
	}
}

func TestEventsPerSecond(t *testing.T) {
	r, c, crossed := bounded(t, func(l *app.Limits) { l.EventsPerSecond, l.MaxChannelsPerEvent, l.MaxBatchSize = 4, 4, 3 })
	one := func(appID string) answer {
		return r.call(http.MethodPost, appID, "/events", []byte(`{"name":"n","channel":"c","data":"d"}`))
	}
	three := func() answer { return r.publish(`{"name":"n","channels":["c","c2","c3","c3"],"data":"d"}`) }
	good := func(what string, a answer) {
		t.Helper()
		a.says(t, what, `{}`)
	}
	// A channel that is named twice gets the event once.
	good("a token for each channel", three())
	good("the fourth", one("app"))
	one("app").over(t, "the fifth", "4 events", "1")
	three().over(t, "none for three", "4 events", "1")
	batch := `{"batch":[` + strings.TrimSuffix(strings.Repeat(`{"name":"n","channel":"c","data":"d"},`, 3), ",") + `]}`
	c.pass(500 * time.Millisecond)
	r.call(http.MethodPost, "app", "/batch_events", []byte(batch)).over(t, "two for three", "4 events", "1")
	if n := len(r.stored("app", "c")); n != 2 {
		t.Errorf("HS-10: %d events are stored, want 2", n)
	}
	good("a refusal takes nothing", one("app"))
	good("a refusal takes nothing", one("app"))
	one("app").over(t, "empty again", "4 events", "1")
	good("another app has its own", one("other"))
	if got, want := crossed.taken(), slices.Repeat([]string{"app events_per_second"}, 4); !slices.Equal(got, want) {
		t.Errorf("the limits that were crossed are %q, want %q", got, want)
	}
	r.get("/channels/orders").says(t, "reads have their own", `{"occupied":true}`)

	c.pass(5 * time.Minute)
	for i := range 4 {
		good(fmt.Sprintf("after a pause %d", i), one("app"))
	}
	one("app").over(t, "a pause gives one second's worth", "4 events", "1")
}

// TestALowRateStillAllowsTheLargestRequest: if the rate is below the size of the largest request, such a
// request passes all the same, and the app then waits for as long as its events are worth.
func TestALowRateStillAllowsTheLargestRequest(t *testing.T) {
	r, c, _ := bounded(t, func(l *app.Limits) { l.EventsPerSecond = 2 })
	var channels []string
	for i := range 100 {
		channels = append(channels, fmt.Sprintf("%q", fmt.Sprint("c", i)))
	}
	large := `{"name":"n","channels":[` + strings.Join(channels, ",") + `],"data":"d"}`
	r.publish(large).says(t, "100 channels", `{}`)
	r.publish(large).over(t, "100 more", "2 events", "50")
	c.pass(48*time.Second + 500*time.Millisecond)
	r.publish(large).over(t, "a second that has begun counts", "2 events", "2")
	c.pass(500 * time.Millisecond)
	r.publish(large).over(t, "too early", "2 events", "1")
	c.pass(time.Second)
	r.publish(large).says(t, "in time", `{}`)
}

// TestALowRateHoldsForSmallRequests: the allowance for a large request does not let many small ones pass.
func TestALowRateHoldsForSmallRequests(t *testing.T) {
	r, c, _ := bounded(t, func(l *app.Limits) { l.EventsPerSecond = 5 })
	one := func() answer { return r.publish(`{"name":"n","channel":"c","data":"d"}`) }
	for i := range 5 {
		one().says(t, fmt.Sprint("event ", i), `{}`)
	}
	one().over(t, "the sixth", "5 events", "1")
	c.pass(time.Minute)
	r.publish(`{"name":"n","channels":["a","b","c","d","e","f","g"],"data":"d"}`).says(t, "seven at once", `{}`)
	c.pass(400 * time.Millisecond)
	one().over(t, "two of them are owed", "5 events", "1")
	c.pass(200 * time.Millisecond)
	one().says(t, "these are paid", `{}`)
}

func TestALowRateStillAllowsTheLargestBatch(t *testing.T) {
	r, _, _ := bounded(t, func(l *app.Limits) { l.EventsPerSecond, l.MaxChannelsPerEvent = 1, 1 })
	batch := []byte(`{"batch":[` + strings.TrimSuffix(strings.Repeat(`{"name":"n","channel":"c","data":"d"},`, 10), ",") + `]}`)
	r.call(http.MethodPost, "app", "/batch_events", batch).says(t, "10 events", `{}`)
	r.call(http.MethodPost, "app", "/batch_events", batch).over(t, "10 more", "1 events", "10")
}

func TestReadsPerSecond(t *testing.T) {
	r, c, crossed := bounded(t, func(l *app.Limits) { l.ReadsPerSecond = 6 })
	reads := map[string]func() answer{
		"channels":  func() answer { return r.get("/channels") },
		"channel":   func() answer { return r.get("/channels/orders") },
		"users":     func() answer { return r.get("/channels/presence-room/users") },
		"history":   func() answer { return r.get("/channels/c/history") },
		"state":     func() answer { return r.get("/channels/c/history/state") },
		"terminate": func() answer { return r.call(http.MethodPost, "app", "/users/u/terminate_connections", nil) },
	}
	// An unsigned request is refused before it uses up the read rate of the app.
	for range 10 {
		r.get("/channels", func(q url.Values, _ http.Header) { q.Del("auth_signature") }).
			refused(t, "unsigned", http.StatusUnauthorized, "auth_failed", "auth_signature")
	}
	for name, read := range reads {
		if a := read(); a.Status != http.StatusOK {
			t.Errorf("%s: got %d %s", name, a.Status, a.Body)
		}
	}
	for name, read := range reads {
		read().over(t, name, "6 reads", "1")
	}
	if got, want := crossed.taken(), slices.Repeat([]string{"app reads_per_second"}, 6); !slices.Equal(got, want) {
		t.Errorf("the limits that were crossed are %q, want %q", got, want)
	}
	r.publish(`{"name":"n","channel":"c","data":"d"}`).says(t, "publishes have their own", `{}`)
	r.call(http.MethodGet, "other", "/channels", nil).says(t, "another app has its own", `{"channels":{"elsewhere":{}}}`)
	c.pass(200 * time.Millisecond)
	r.get("/channels/orders").says(t, "a sixth of a second later", `{"occupied":true}`)
	r.get("/channels/orders").over(t, "again", "6 reads", "1")
}

// TestABucketGoesWithItsApp: a removed app leaves no rate bucket behind, and an app that stays keeps its
// bucket.
func TestABucketGoesWithItsApp(t *testing.T) {
	var apps *app.Registry
	c := newClock()
	r := newRig(t, func(o *rest.Options) {
		apps, o.Now = o.Apps, c.Now
		for _, id := range apps.IDs() {
			apps.ByID(id).Limits.EventsPerSecond = 1
		}
	})
	publish := func(id string) answer {
		return r.call(http.MethodPost, id, "/events", []byte(`{"name":"n","channel":"c","data":"d"}`))
	}
	gone, stays := apps.ByID("app"), apps.ByID("other")
	for _, id := range []string{"app", "other"} {
		publish(id).says(t, "the first event", `{}`)
		publish(id).over(t, "the second one", "1 events", "1")
	}
	apps.Replace(stays)
	r.api.Apply()
	publish("other").over(t, "an app that stays", "1 events", "1")
	apps.Replace(stays, gone)
	publish("app").says(t, "an app that comes back", `{}`)
}

func TestZeroIsNoRate(t *testing.T) {
	r, _, crossed := bounded(t, func(l *app.Limits) { l.EventsPerSecond, l.ReadsPerSecond = 0, 0 })
	for range 150 {
		r.publish(`{"name":"n","channel":"c","data":"d"}`).says(t, "publish", `{}`)
		r.get("/channels/orders").says(t, "read", `{"occupied":true}`)
	}
	if got := crossed.taken(); len(got) != 0 {
		t.Errorf("limits that were crossed: %q", got)
	}
}

// TestRatesHoldForRequestsAtTheSameMoment: concurrent requests together get no more than the rate.
func TestRatesHoldForRequestsAtTheSameMoment(t *testing.T) {
	r, _, _ := bounded(t, func(l *app.Limits) { l.EventsPerSecond, l.MaxChannelsPerEvent, l.MaxBatchSize = 7, 3, 3 })
	var posting sync.WaitGroup
	for range 10 {
		posting.Go(func() { r.publish(`{"name":"n","channels":["a","b"],"data":"d"}`) })
	}
	posting.Wait()
	if a, b := len(r.stored("app", "a")), len(r.stored("app", "b")); a != 3 || b != 3 {
		t.Errorf("%d and %d events are stored, want 3 on each of two channels with 7 tokens", a, b)
	}
}

// brim is a log that refuses every event as too large.
type brim struct{ rest.Log }

func (brim) Publish(context.Context, string, ...broker.Outgoing) ([]broker.Receipt, error) {
	return nil, fmt.Errorf("a frame: %w", broker.ErrTooLarge)
}

func TestEveryRefusalByALimitIsToldByItsName(t *testing.T) {
	r, _, crossed := bounded(t, func(l *app.Limits) {
		l.MaxEventPayload, l.MaxChannelsPerEvent, l.MaxBatchSize, l.MaxEventNameLength = 8, 2, 2, 5
	})
	const good = `{"name":"n","channel":"c","data":"d"}`
	const heavy = `{"name":"n","channel":"c","data":"123456789"}`
	const named = `{"name":"123456","channel":"c","data":"d"}`
	huge := `{"name":"n","channel":"c","data":"` + strings.Repeat("x", 1<<20) + `"}`
	for _, c := range []struct {
		what, path, body, limit string
		status                  int
	}{
		{"data", "/events", heavy, "payload", 413},
		{"channels", "/events", `{"name":"n","channels":["a","b","c"],"data":"d"}`, "channels", 400},
		{"name", "/events", named, "event_name", 400},
		{"body", "/events", huge, "body", 413},
		{"batch", "/batch_events", `{"batch":[` + good + `,` + good + `,` + good + `]}`, "batch", 400},
		{"data in a batch", "/batch_events", `{"batch":[` + good + `,` + heavy + `]}`, "payload", 413},
		{"name in a batch", "/batch_events", `{"batch":[` + good + `,` + named + `]}`, "event_name", 400},
		{"body of a batch", "/batch_events", huge, "body", 413},
		{"what is invalid crosses no limit", "/events", `{"name":"","channel":"c","data":"d"}`, "", 400},
		{"nor does what is good", "/events", good, "", 200},
	} {
		a := r.call(http.MethodPost, "app", c.path, []byte(c.body))
		var want []string
		if c.limit != "" {
			want = []string{"app " + c.limit}
		}
		if got := crossed.taken(); a.Status != c.status || !slices.Equal(got, want) {
			t.Errorf("%s: got %d %.200s and the limits %q, want %d and %q", c.what, a.Status, a.Body, got, c.status, want)
		}
	}
	if a := r.call(http.MethodPost, "nobody", "/events", []byte(huge)); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if got := crossed.taken(); len(got) != 0 {
		t.Errorf("an unknown app crossed %q", got)
	}
}

func TestALimitOfTheLogIsOneOfThePayload(t *testing.T) {
	crossed := &crossings{}
	r := newRig(t, func(o *rest.Options) { o.Log, o.Limited = brim{o.Log}, crossed.note })
	r.publish(`{"name":"n","channel":"c","data":"d"}`).refused(t, "too large for the log", http.StatusRequestEntityTooLarge, "payload_too_large", "")
	if got := crossed.taken(); !slices.Equal(got, []string{"app payload"}) {
		t.Errorf("the limits that were crossed are %q", got)
	}
}
