package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/rest"
)

// heard collects what a channel receives.
type heard struct {
	mu           sync.Mutex
	cast, stored []*broker.Publication
}

func (h *heard) Publication(p *broker.Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stored = append(h.stored, p)
}
func (h *heard) Gap(broker.Gap) {}
func (h *heard) Heard(p *broker.Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cast = append(h.cast, p)
}

func (h *heard) counts() (cast, stored int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.cast), len(h.stored)
}

func (r *rig) listen(channel string) *heard {
	r.t.Helper()
	h := &heard{}
	at, err := r.log.Attach(context.Background(), "app", channel, h)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(at.Detach)
	return h
}

func (h *heard) wait(t *testing.T, cast, stored int) []*broker.Publication {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if c, s := h.counts(); c == cast && s == stored {
			return h.cast
		} else if time.Now().After(deadline) {
			t.Fatalf("heard %d and stored %d, want %d and %d", c, s, cast, stored)
		}
		<-time.After(time.Millisecond)
	}
}

// TestTime01EphemeralOverHTTP: an ephemeral event is sent and not stored, and the answer has no position for
// it.
func TestTime01EphemeralOverHTTP(t *testing.T) {
	t.Run("EX-01 EX-02 events with extras.ephemeral", func(t *testing.T) {
		r := newRig(t, nil)
		a, b := r.listen("a"), r.listen("b")
		got := r.publish(`{"name":"n","channels":["a","b"],"data":"d","info":"position","tags":{"k":"v"},"socket_id":"1.2","extras":{"ephemeral":true,"headers":{"h":1}}}`)
		if got.Status != http.StatusOK || string(got.Body) != `{"channels":{"a":{},"b":{}}}` {
			t.Errorf("answered %d %s", got.Status, got.Body)
		}
		for _, h := range []*heard{a, b} {
			e := h.wait(t, 1, 0)[0]
			if e.Name != "n" || string(e.Data) != "d" || e.Tags["k"] != "v" || e.ExcludeSocket != "1.2" || e.MessageID == "" ||
				string(e.Extras) != `{"ephemeral":true,"headers":{"h":1}}` || e.Origin != broker.OriginHTTP {
				t.Errorf("heard %+v", e)
			}
		}
		if n := len(r.stored("app", "a")) + len(r.stored("app", "b")); n > 0 {
			t.Errorf("%d are stored", n)
		}
		for _, extras := range []string{`{"ephemeral":false}`, `{"ephemeral":null}`, `{}`} {
			if got := r.publish(`{"name":"n","channel":"c","data":"d","extras":` + extras + `}`); got.Status != http.StatusOK {
				t.Errorf("%s: %d", extras, got.Status)
			}
		}
		if n := len(r.stored("app", "c")); n != 3 {
			t.Errorf("%d of those that are not ephemeral are stored", n)
		}
		for _, extras := range []string{`{"ephemeral":"yes"}`, `{"ephemeral":true,"headers":{"a":{"b":1}}}`, `{"ephemeral":1}`} {
			if got := r.publish(`{"name":"n","channel":"a","data":"d","extras":` + extras + `}`); got.Status != http.StatusBadRequest {
				t.Errorf("%s: %d", extras, got.Status)
			}
		}
	})
	t.Run("EX-01 in a batch each event goes its own way", func(t *testing.T) {
		r := newRig(t, nil)
		a, b := r.listen("a"), r.listen("b")
		event := func(channel string, ephemeral bool) string {
			return fmt.Sprintf(`{"name":"n","channel":%q,"data":"d","info":"position","extras":{"ephemeral":%v}}`, channel, ephemeral)
		}
		got := r.call(http.MethodPost, "app", "/batch_events", []byte(`{"batch":[`+strings.Join([]string{
			event("a", true), event("a", false), event("b", true), event("b", false), event("b", true),
		}, ",")+`]}`))
		a.wait(t, 1, 1)
		b.wait(t, 2, 1)
		var answer struct {
			Batch []struct {
				Serial uint64 `json:"serial"`
			} `json:"batch"`
		}
		if err := json.Unmarshal(got.Body, &answer); err != nil || len(answer.Batch) != 5 {
			t.Fatalf("answered %d %s", got.Status, got.Body)
		}
		for i, one := range answer.Batch {
			if stored := i == 1 || i == 3; (one.Serial > 0) != stored {
				t.Errorf("event %d of %s", i, got.Body)
			}
		}
	})
	t.Run("ID-01 who repeats a key repeats the id", func(t *testing.T) {
		r := newRig(t, nil)
		a := r.listen("a")
		for range 2 {
			r.publish(`{"name":"n","channel":"a","data":"d","extras":{"ephemeral":true}}`, func(_ url.Values, h http.Header) { h.Set("X-Idempotency-Key", "k") })
		}
		r.publish(`{"name":"n","channel":"a","data":"d","extras":{"ephemeral":true,"idempotencyKey":"other"}}`)
		r.publish(`{"name":"n","channel":"a","data":"d","message_id":"mine","extras":{"ephemeral":true}}`)
		if e := a.wait(t, 4, 0); e[0].MessageID != e[1].MessageID || e[1].MessageID == e[2].MessageID || e[3].MessageID != "mine" {
			t.Errorf("ids %s %s %s %s", e[0].MessageID, e[1].MessageID, e[2].MessageID, e[3].MessageID)
		}
	})
	t.Run("a log that cannot says so", func(t *testing.T) {
		r := newRig(t, func(o *rest.Options) {
			o.Log = struct {
				broker.Publisher
				broker.History
			}{o.Log, o.Log}
		})
		if got := r.publish(`{"name":"n","channel":"a","data":"d","extras":{"ephemeral":true}}`); got.Status != http.StatusUnprocessableEntity || got.Code != "feature_disabled" {
			t.Errorf("answered %d %s", got.Status, got.Body)
		}
	})
}
