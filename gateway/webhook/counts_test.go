package webhook

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

func TestTrust20OvertakenNumbersAreLeftOut(t *testing.T) {
	began := time.Unix(1000, 0)
	c := counts{}
	for _, step := range []struct {
		channel        string
		version, count int
		after          time.Duration
		stale          bool
	}{
		{"a", 10, 50, 0, false},
		{"a", 12, 52, time.Second, false},
		{"a", 11, 51, time.Second, true},
		{"b", 11, 51, time.Second, false},
		{"a", 12, 52, 6 * time.Second, true},                           // told again by another gateway
		{"a", 12, 53, 6 * time.Second, false},                          // from a gateway that knows more
		{"a", 0, 1, 7 * time.Second, false},                            // from an older release
		{"a", 3, 4, 8 * time.Second, true},                             //
		{"a", 3, 4, 6*time.Second + countsFor, false},                  // from a table that was made anew
		{"a", 4, 3, 6*time.Second + countsFor + time.Second, false},    //
		{"a", 3, 4, 6*time.Second + countsFor + 2*time.Second, true},   //
		{"a", 4, 3, 6*time.Second + countsFor + 40*time.Second, false}, // not the count of a moment ago
	} {
		ev := &Event{Name: SubscriptionCount, Channel: step.channel, Version: uint64(step.version), Count: step.count}
		if got := c.stale(ev, began.Add(step.after)); got != step.stale {
			t.Errorf("%+v: got %v", step, got)
		}
	}
	for i := range 2 * maxCounts {
		c.stale(&Event{Channel: fmt.Sprint(i), Version: 1}, began.Add(time.Hour))
	}
	if len(c) > maxCounts {
		t.Errorf("%d channels are remembered", len(c))
	}
}

func TestTrust20AnOvertakenNumberIsNotSent(t *testing.T) {
	r := listen(t, nil)
	a := tenant(app.Webhook{URL: r.URL})
	h := run(t, a, nil, nil)
	for _, version := range []int{1, 3, 2, 4} {
		h.Emit(a, Event{Name: SubscriptionCount, Channel: "c", Count: 100 + version, Version: uint64(version)})
	}
	eventually(t, "the last number has come", func() bool { return len(r.names()) >= 3 })
	var got []any
	for _, q := range r.all() {
		for _, e := range q.Events {
			got = append(got, e["subscription_count"])
		}
	}
	if !slices.Equal(got, []any{101.0, 103.0, 104.0}) {
		t.Errorf("got %v", got)
	}
}
