package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shirou/gopsutil/v4/cpu"
)

func TestTelemetryOfThisMachine(t *testing.T) {
	ctx := context.Background()
	s, err := newSampler(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, errs := s.sample(ctx, time.Now())
	for _, err := range errs {
		t.Log(err)
	}
	second, _ := s.sample(ctx, time.Now())
	shapes := map[string]string{}
	for _, f := range first {
		shapes[f.device] = shape(f.data)
	}
	events := map[string]bool{}
	for i, f := range second {
		t.Logf("%-20s %5d bytes", f.device, len(f.data))
		events[f.event] = true
		var m struct {
			Device, Host, Time string
			Sample             uint64
		}
		if err := json.Unmarshal(f.data, &m); err != nil {
			t.Fatalf("%s: %v", f.device, err)
		}
		if m.Device != f.device || m.Sample != 2 || m.Time == "" {
			t.Errorf("message %d of %s begins with %+v", i, f.device, m)
		}
		if len(f.data) < 300 || len(f.data) > 4000 {
			t.Errorf("message of %s has %d bytes", f.device, len(f.data))
		}
		// Members that move would make deltas useless. Lists may grow.
		if before, ok := shapes[f.device]; ok && f.event != "processes" && f.event != "cpu" {
			if diff := cmp.Diff(before, shape(f.data)); diff != "" {
				t.Errorf("the members of %s changed (-first +second):\n%s", f.device, diff)
			}
		}
	}
	for _, want := range []string{"cpu", "memory", "host", "processes"} {
		if !events[want] {
			t.Errorf("no message of %s", want)
		}
	}
}

var values = regexp.MustCompile(`:("[^"]*"|[-+.0-9eE]+)`)

// shape returns a message without its values.
func shape(data []byte) string {
	return strings.ReplaceAll(values.ReplaceAllString(string(data), ""), ",", "\n")
}

func TestShares(t *testing.T) {
	a := cpu.TimesStat{User: 10, System: 5, Idle: 100, Iowait: 1}
	b := cpu.TimesStat{User: 11, System: 6, Idle: 101, Iowait: 2}
	want := shares{Busy: 50, User: 25, System: 25, IOWait: 25, Idle: 25}
	if diff := cmp.Diff(want, share(a, b)); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if got := share(b, b); got != (shares{}) {
		t.Errorf("shares of no time: %+v", got)
	}
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		name        string
		before, now uint64
		seconds     float64
		want        float64
	}{
		{"growth per second", 100, 350, 2, 125},
		{"a counter that began again", 350, 100, 2, 0},
		{"no time", 100, 350, 0, 0},
	} {
		if got := rate(c.before, c.now, c.seconds); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
