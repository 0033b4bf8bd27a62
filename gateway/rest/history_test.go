package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// listing is a page of history as clients see it.
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
			cursor := ""
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
				if direction == "newest_first" {
					r.fill(1) // what comes later belongs to no page of this walk
				}
				cursor = l.NextCursor
			}
			if len(serials) != 25 {
				t.Fatalf("%d events, want 25: %v", len(serials), serials)
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
}

func TestHI06_APageSaysThatRetentionTookSome(t *testing.T) {
	r := newRig(t, nil)
	for range 1003 { // three more than are kept
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
	for name, query := range map[string]string{
		"changed":           "?limit=4&cursor=" + url.QueryEscape(string(broken)),
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
	if l, a := r.history("?limit=100000"); a.Status != http.StatusOK || len(l.Items) != 3 {
		t.Errorf("a large limit: got %d %s", a.Status, a.Body)
	}
	a := r.call(http.MethodGet, "other", "/channels/c/history", nil)
	if a.Status != http.StatusUnprocessableEntity || a.Code != "feature_disabled" {
		t.Errorf("HI-05: got %d %s", a.Status, a.Body)
	}
}
