package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// troubled is a webhook receiver that can be made to fail.
type troubled struct {
	*httptest.Server
	mood atomic.Int32 // 0 works, 1 answers 500, 2 is slow, 3 closes connections

	mu       sync.Mutex
	got      map[string][]string // data of client events by channel
	failures int
}

func listenTroubled(t *testing.T) *troubled {
	r := &troubled{got: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		mood := r.mood.Load()
		if mood == 2 {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-req.Context().Done():
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if mood == 1 || mood == 3 {
			r.failures++
			if mood == 3 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var body struct {
			Events []struct{ Name, Channel, Data string }
		}
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		for _, e := range body.Events {
			if e.Name == "client_event" {
				r.got[e.Channel] = append(r.got[e.Channel], e.Data)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *troubled) of(channel string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[channel])
}

// TestWebhookReceiverInTrouble sends client events while their webhook receiver works, answers 500, is slow,
// and closes connections. No webhook is lost, the order of each channel is kept, and live delivery goes on;
// its speed is logged.
func TestWebhookReceiverInTrouble(t *testing.T) {
	t.Parallel()
	const perMood, channels = 400, 4
	r := listenTroubled(t)
	a := everything("app")
	a.ClientEventRate = 0
	a.Webhooks = []app.Webhook{{URL: r.URL, Events: []string{webhook.ClientEvent}}}
	c := start(t, 3, settings{replicated: true, apps: []*app.App{a}, webhooks: webhook.Options{FirstRetry: 20 * time.Millisecond, MaxRetry: 200 * time.Millisecond}})
	from, to := c.nodes[0].connect(t, a), c.nodes[1].connect(t, a)
	name := func(i int) string { return fmt.Sprint("private-trouble-", i%channels) }
	for i := range channels {
		from.subscribe(name(i), "")
		to.subscribe(name(i), "")
	}
	sent := 0
	burst := func(mood int32) time.Duration {
		r.mood.Store(mood)
		began := time.Now()
		for range perMood {
			from.say(`{"event":"client-n","channel":%q,"data":{"n":%d}}`, name(sent), sent)
			sent++
		}
		to.awaitN("client-n", "", sent)
		return time.Since(began)
	}
	burst(0)
	well := burst(0)
	for mood, what := range []string{1: "answers 500", 2: "is slow", 3: "hangs up"} {
		if what == "" {
			continue
		}
		took := burst(int32(mood))
		t.Logf("while the receiver %s, %d client events are delivered at %.2f of the rate as when it is well",
			what, perMood, well.Seconds()/took.Seconds())
	}
	r.mood.Store(0)
	for i := range channels {
		var want []string
		for n := i; n < sent; n += channels {
			want = append(want, fmt.Sprintf(`{"n":%d}`, n))
		}
		eventually(t, "all webhooks of "+name(i)+" have come", func() bool { return len(r.of(name(i))) >= len(want) })
		if got := r.of(name(i)); !slices.Equal(got, want) {
			t.Errorf("%s: the webhooks are not the events in order: %.300s", name(i), fmt.Sprint(got))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures == 0 {
		t.Error("the receiver was never in trouble")
	}
}
