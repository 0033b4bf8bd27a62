package rest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

// listing is a page of history as clients read it.
type listing struct {
	Items []struct {
		Serial uint64
		TimeMS int64 `json:"published_at_ms"`
		Data   json.RawMessage
	}
	HasMore    bool   `json:"has_more"`
	NextCursor string `json:"next_cursor"`
}

func (r *rig) history(query string) (listing, answer) {
	r.t.Helper()
	a := r.call(http.MethodGet, "app", "/channels/c/history"+query, nil)
	var l listing
	if a.Status == http.StatusOK {
		if err := json.Unmarshal(a.Body, &l); err != nil {
			r.t.Fatalf("%s: %v", a.Body, err)
		}
	}
	return l, a
}

func (r *rig) fill(n int) {
	r.t.Helper()
	for i := range n {
		if a := r.publish(fmt.Sprintf(`{"name":"n","channel":"c","data":"%d"}`, i)); a.Status != http.StatusOK {
			r.t.Fatalf("got %d %s", a.Status, a.Body)
		}
	}
}

func TestHI01_PagingReturnsEveryEventOnce(t *testing.T) {
	for _, direction := range []string{"newest_first", "oldest_first"} {
		t.Run(direction, func(t *testing.T) {
			r := newRig(t, nil)
			r.fill(25)
			var serials []uint64
			cursor, want := "", 25
			for pages := 0; ; pages++ {
				if pages > 25 {
					t.Fatal("paging does not end")
				}
				l, a := r.history("?limit=4&direction=" + direction + "&cursor=" + url.QueryEscape(cursor))
				if a.Status != http.StatusOK {
					t.Fatalf("got %d %s", a.Status, a.Body)
				}
				for _, item := range l.Items {
					serials = append(serials, item.Serial)
				}
				if !l.HasMore {
					break
				}
				// Events published meanwhile belong to no page of a backward walk, and to the last pages of a
				// forward walk.
				if direction == "newest_first" {
					r.fill(1)
				} else if pages < 5 {
					r.fill(1)
					want++
				}
				cursor = l.NextCursor
			}
			if len(serials) != want {
				t.Fatalf("%d events, want %d: %v", len(serials), want, serials)
			}
			for i := 1; i < len(serials); i++ {
				if rises := serials[i] > serials[i-1]; rises != (direction == "oldest_first") {
					t.Fatalf("order of %v", serials)
				}
			}
		})
	}
}

func TestHI02_BoundsAreInclusive(t *testing.T) {
	r := newRig(t, nil)
	r.fill(10)
	all, _ := r.history("?limit=100&direction=oldest_first")
	if len(all.Items) != 10 {
		t.Fatalf("%d events, want 10", len(all.Items))
	}
	from, to := all.Items[2].Serial, all.Items[6].Serial
	some, a := r.history(fmt.Sprintf("?direction=oldest_first&start_serial=%d&end_serial=%d", from, to))
	if len(some.Items) != 5 || some.Items[0].Serial != from || some.Items[4].Serial != to {
		t.Errorf("got %s", a.Body)
	}

	clock := time.UnixMilli(1_700_000_000_000)
	r = newRigWith(t, memory.Options{Now: func() time.Time { return clock }}, nil)
	for range 5 {
		clock = clock.Add(time.Millisecond)
		r.fill(1)
	}
	start := clock.UnixMilli() - 4
	for query, want := range map[string]int{
		fmt.Sprint("?start_time_ms=", start): 5, fmt.Sprint("?start_time_ms=", start+1): 4, fmt.Sprint("?end_time_ms=", start+1): 2,
		fmt.Sprintf("?start_time_ms=%d&end_time_ms=%d", start+1, start+3): 3, fmt.Sprintf("?start=%d&end=%d", start+2, start+2): 1,
	} {
		if some, a := r.history(query); len(some.Items) != want {
			t.Errorf("%s: %d events, want %d: %s", query, len(some.Items), want, a.Body)
		}
	}
}

func TestHI06_APageSaysThatRetentionTookSome(t *testing.T) {
	r := newRig(t, nil)
	for range 1003 { // three more than are retained
		_, err := r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "n", Data: []byte("d")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	oldest := r.stored("app", "c")[0].Offset
	for query, want := range map[string]bool{
		fmt.Sprint("?start_serial=", oldest):   false,
		fmt.Sprint("?start_serial=", oldest-1): true,
		"?start_serial=1":                      true,
		"?start_time_ms=1":                     true,
		"?limit=10":                            false,
	} {
		var page struct {
			Continuity struct {
				Truncated bool `json:"truncated_by_retention"`
			}
		}
		_, a := r.history(query)
		if err := json.Unmarshal(a.Body, &page); err != nil || a.Status != http.StatusOK || page.Continuity.Truncated != want {
			t.Errorf("%s: %d %v, truncated %v, want %v", query, a.Status, err, page.Continuity.Truncated, want)
		}
	}
}

func TestHI03_AChangedCursorIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.fill(10)
	l, _ := r.history("?limit=4")
	if l.NextCursor == "" {
		t.Fatal("there is no cursor")
	}
	broken := []byte(l.NextCursor)
	broken[len(broken)/2] ^= 1
	raw, err := base64.RawURLEncoding.DecodeString(l.NextCursor)
	if err != nil {
		t.Fatal(err)
	}
	// The forged cursor is well formed, only its position differs.
	forged := regexp.MustCompile(`"n":\d+`).ReplaceAll(raw, []byte(`"n":2`))
	if bytes.Equal(raw, forged) {
		t.Fatalf("there is no place in %q", raw)
	}
	for name, query := range map[string]string{
		"changed":           "?limit=4&cursor=" + url.QueryEscape(string(broken)),
		"forged":            "?limit=4&cursor=" + base64.RawURLEncoding.EncodeToString(forged),
		"a seal alone":      "?limit=4&cursor=" + base64.RawURLEncoding.EncodeToString(raw[:16]),
		"too long":          "?limit=4&cursor=" + strings.Repeat("a", 16<<10+1),
		"garbage":           "?limit=4&cursor=garbage",
		"cut":               "?limit=4&cursor=" + url.QueryEscape(l.NextCursor[:len(l.NextCursor)/2]),
		"of another query":  "?limit=4&direction=oldest_first&cursor=" + url.QueryEscape(l.NextCursor),
		"with other bounds": "?limit=4&start_serial=1&cursor=" + url.QueryEscape(l.NextCursor),
	} {
		if _, a := r.history(query); a.Status != http.StatusBadRequest || !strings.Contains(a.Error, "cursor") {
			t.Errorf("%s: got %d %s", name, a.Status, a.Body)
		}
	}
	a := r.call(http.MethodGet, "app", "/channels/d/history?limit=4&cursor="+url.QueryEscape(l.NextCursor), nil)
	if a.Status != http.StatusBadRequest {
		t.Errorf("another channel: got %d %s", a.Status, a.Body)
	}
	// The cursor is of another app with a channel of the same name.
	two := newRig(t, func(o *rest.Options) {
		one := app.App{ID: "app", Key: "app-key", Secret: "app-secret", Enabled: true, HistoryEnabled: true, Limits: app.DefaultLimits}
		other := one
		other.ID, other.Key, other.Secret = "other", "other-key", "other-secret"
		o.Apps = app.NewRegistry(&one, &other)
	})
	two.fill(10)
	for range 10 {
		if _, err := two.log.Publish(t.Context(), "other", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "n"}}); err != nil {
			t.Fatal(err)
		}
	}
	l, _ = two.history("?limit=4")
	if a := two.call(http.MethodGet, "other", "/channels/c/history?limit=4&cursor="+url.QueryEscape(l.NextCursor), nil); a.Status != http.StatusBadRequest {
		t.Errorf("another app: got %d %s", a.Status, a.Body)
	}
}

func TestHI04_HI05_LimitsAndChannelsOfHistory(t *testing.T) {
	r := newRig(t, nil)
	r.fill(3)
	for query, says := range map[string]string{
		"?limit=0": "limit", "?limit=-1": "limit", "?limit=x": "limit", "?direction=sideways": "direction",
		"?start_serial=x": "start_serial", "?end_time_ms=x": "end_time_ms",
	} {
		if _, a := r.history(query); a.Status != http.StatusBadRequest || !strings.Contains(a.Error, says) {
			t.Errorf("%s: got %d %s", query, a.Status, a.Body)
		}
	}
	if l, a := r.history("?limit=100000"); a.Status != http.StatusOK || len(l.Items) != 3 || !strings.Contains(string(a.Body), `"limit":100,`) {
		t.Errorf("a large limit: got %d %s", a.Status, a.Body)
	}
	a := r.call(http.MethodGet, "other", "/channels/c/history", nil)
	if a.Status != http.StatusUnprocessableEntity || a.Code != "feature_disabled" {
		t.Errorf("HI-05: got %d %s", a.Status, a.Body)
	}
}

// readings counts the reads of a log.
type readings struct {
	broker.History
	pages, retained atomic.Int64
}

func (r *readings) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	r.pages.Add(1)
	return r.History.Read(ctx, app, channel, q)
}

func (r *readings) Retained(ctx context.Context, app, channel string) (broker.Retained, error) {
	r.retained.Add(1)
	return r.History.Retained(ctx, app, channel)
}

// TestTime05ACursorCostsNoReading: whether a cursor is of the present epoch is known from the page it leads
// to, without a further read.
func TestTime05ACursorCostsNoReading(t *testing.T) {
	log := &readings{}
	r := newRig(t, func(o *rest.Options) { log.History, o.History = o.Log, log })
	r.fill(6)
	for _, query := range []string{"?limit=2", "?limit=2&direction=oldest_first"} {
		l, _ := r.history(query)
		for n := range 2 {
			log.pages.Store(0)
			var a answer
			if l, a = r.history(query + "&cursor=" + url.QueryEscape(l.NextCursor)); a.Status != http.StatusOK || len(l.Items) != 2 {
				t.Fatalf("page %d of %s: %d %s", n, query, a.Status, a.Body)
			}
			if pages, more := log.pages.Load(), log.retained.Load(); pages != 1 || more != 0 {
				t.Errorf("page %d of %s: %d pages were read, and %d times what is retained", n, query, pages, more)
			}
		}
	}
}
