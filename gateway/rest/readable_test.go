package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

func TestReadingIsBoundedByChannel(t *testing.T) {
	readings := app.NewReadings([]app.ReadingPattern{{Match: "c*", Reading: app.Reading{Messages: 10}}})
	var apps *app.Registry
	ahead := time.Duration(0)
	r := newRig(t, func(o *rest.Options) {
		apps = o.Apps
		apps.ByID("app").Readings = readings
		o.Now = func() time.Time { return time.Now().Add(ahead) }
	})
	r.fill(25)
	walk := func(direction string) (serials []uint64) {
		t.Helper()
		for cursor := ""; ; {
			l, a := r.history("?limit=4&direction=" + direction + "&cursor=" + url.QueryEscape(cursor))
			if a.Status != http.StatusOK {
				t.Fatalf("got %d %s", a.Status, a.Body)
			}
			for _, item := range l.Items {
				serials = append(serials, item.Serial)
			}
			if cursor = l.NextCursor; !l.HasMore {
				return serials
			}
		}
	}
	newest, oldest := walk("newest_first"), walk("oldest_first")
	if len(newest) != 10 || len(oldest) != 10 || newest[0] != oldest[9] || newest[9] != oldest[0] {
		t.Fatalf("got %v and %v, want the newest 10", newest, oldest)
	}
	first := oldest[0]
	l, a := r.history("?end_serial=" + jsonOf(first-1))
	if a.Status != http.StatusOK || len(l.Items) > 0 || l.HasMore {
		t.Errorf("below what may be read: %d %s", a.Status, a.Body)
	}
	if _, a := r.history("?start_serial=1"); !strings.Contains(string(a.Body), `"truncated_by_retention":true`) ||
		!strings.Contains(string(a.Body), `"oldest_available_serial":`+jsonOf(first)+",") || !strings.Contains(string(a.Body), `"retained_messages":10`) {
		t.Errorf("continuity tells of more than may be read: %s", a.Body)
	}

	// New bounds apply at once.
	var next []*app.App
	for _, id := range apps.IDs() {
		a := *apps.ByID(id)
		if id == "app" {
			a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "c", Reading: app.Reading{Age: time.Minute}}, {Match: "*", Reading: app.Reading{Off: true}}})
		}
		next = append(next, &a)
	}
	apps.Replace(next...)
	if got := walk("oldest_first"); len(got) != 25 {
		t.Errorf("%d events are young enough, want 25", len(got))
	}
	if a := r.call(http.MethodGet, "app", "/channels/d/history", nil); a.Status != http.StatusUnprocessableEntity || a.Code != "feature_disabled" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	ahead = 30 * time.Second
	if got := walk("newest_first"); len(got) != 25 {
		t.Errorf("%d events are young enough, want 25", len(got))
	}
	ahead = 50 * time.Second
	if a := r.call(http.MethodGet, "app", "/channels/c/history/state", nil); !strings.Contains(string(a.Body), `"retained_messages":25`) {
		t.Errorf("the state is %s", a.Body)
	}
}

func TestNothingIsYoungEnoughToBeRead(t *testing.T) {
	ahead := 2 * time.Minute
	r := newRig(t, func(o *rest.Options) {
		o.Apps.ByID("app").Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Age: time.Minute}}})
		o.Now = func() time.Time { return time.Now().Add(ahead) }
	})
	r.fill(3)
	for _, query := range []string{"", "?direction=oldest_first", "?end_serial=2"} {
		l, a := r.history(query)
		if a.Status != http.StatusOK || len(l.Items) > 0 || !strings.Contains(string(a.Body), `"oldest_available_serial":null`) {
			t.Errorf("%q: got %d %s", query, a.Status, a.Body)
		}
	}
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// TestReadingIsBoundedByNumberOfLargeEvents: a page of large events has fewer events than its limit, and the
// bound of readable events still applies across pages.
func TestReadingIsBoundedByNumberOfLargeEvents(t *testing.T) {
	r := newRig(t, func(o *rest.Options) {
		o.Apps.ByID("app").Readings = app.NewReadings([]app.ReadingPattern{{Match: "c", Reading: app.Reading{Messages: 12}}})
	})
	large := []byte(strings.Repeat("x", broker.PageBytes/9))
	for range 20 {
		if _, err := r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: large}}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for cursor := ""; ; {
		l, a := r.history("?limit=100&cursor=" + url.QueryEscape(cursor))
		if a.Status != http.StatusOK {
			t.Fatalf("got %d %.200s", a.Status, a.Body)
		}
		if len(a.Body) > 2*broker.PageBytes {
			t.Errorf("a page has %d bytes", len(a.Body))
		}
		seen += len(l.Items)
		if cursor = l.NextCursor; !l.HasMore {
			break
		}
	}
	if seen != 12 {
		t.Errorf("%d events can be read, want 12", seen)
	}
}

// TestWeeks10RetainedMessagesAreThoseThatMayBeRead: retained_messages counts what may be read, by number and
// by age, whether the log can count or not.
func TestWeeks10RetainedMessagesAreThoseThatMayBeRead(t *testing.T) {
	for name, hide := range map[string]func(rest.Log) rest.Log{
		"a log that counts":      func(l rest.Log) rest.Log { return l },
		"a log that is read for": func(l rest.Log) rest.Log { return struct{ rest.Log }{l} },
	} {
		t.Run(name, func(t *testing.T) {
			old := time.Now().Add(-time.Minute)
			r := newRig(t, func(o *rest.Options) {
				o.Apps.ByID("app").Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Age: time.Minute, Messages: 20}}})
				o.Now = func() time.Time { return old.Add(time.Minute) }
				o.Log = hide(o.Log)
			})
			r.fill(25)
			l, a := r.history("?limit=100")
			if a.Status != http.StatusOK || !strings.Contains(string(a.Body), `"retained_messages":20`) {
				t.Fatalf("by number: %d %s", a.Status, a.Body)
			}
			// The clock moves on until some are too old.
			old = time.UnixMilli(l.Items[3].TimeMS).Add(time.Nanosecond)
			l, a = r.history("?limit=100")
			if want := fmt.Sprintf(`"retained_messages":%d,`, len(l.Items)); a.Status != http.StatusOK || !strings.Contains(string(a.Body), want) {
				t.Errorf("by age: got %d %s, want %s", a.Status, a.Body, want)
			}
			if a := r.call(http.MethodGet, "app", "/channels/c/history/state", nil); !strings.Contains(string(a.Body), fmt.Sprintf(`"retained_messages":%d`, len(l.Items))) {
				t.Errorf("the state is %s, want %d messages", a.Body, len(l.Items))
			}
		})
	}
}
