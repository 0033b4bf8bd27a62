package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestTime03ReplayDoesNotDrift: every timer is late by a little, and after ten minutes the last event is late
// by no more than that.
func TestTime03ReplayDoesNotDrift(t *testing.T) {
	for _, speed := range []float64{0.01, 1, 10, 1000} {
		random := rand.New(rand.NewPCG(7, 7))
		now := time.Unix(1_700_000_000, 0)
		start := now
		pace := &tempo{speed: speed}
		first := time.UnixMilli(1_600_000_000_000)
		stored := first
		for range 60_000 {
			due := pace.due(stored, now)
			if due.After(now) {
				now = due.Add(time.Duration(random.IntN(int(3 * time.Millisecond)))) // the lateness of a timer
			}
			if late := now.Sub(start.Add(time.Duration(float64(stored.Sub(first)) / speed))); late < 0 || late > 3*time.Millisecond {
				t.Fatalf("speed %v: an event is %v late", speed, late)
			}
			// No two events are so close that the lateness of one makes the other late.
			stored = stored.Add(time.Duration(float64(10*time.Millisecond) * speed))
		}
	}
}

// TestTime03ReplayCatchesUp: after a pause, as when the terminal was suspended, overdue events come at once
// and later ones keep their time.
func TestTime03ReplayCatchesUp(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	start := now
	pace := &tempo{speed: 2}
	stored := time.UnixMilli(1_600_000_000_000)
	for i, want := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		if got := pace.due(stored.Add(time.Duration(i)*time.Second), now.Add(time.Hour*time.Duration(i))).Sub(start); got != want {
			t.Errorf("event %d is due after %v, want %v", i, got, want)
		}
	}
}

// TestTime03ReplayOfAClockThatWentBack: the order is kept and no event waits for a time in the past.
func TestTime03ReplayOfAClockThatWentBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	pace := &tempo{speed: 1}
	stored := time.UnixMilli(1_600_000_000_000)
	for i, c := range []struct{ at, want time.Duration }{
		{0, 0}, {5 * time.Second, 5 * time.Second}, {-time.Hour, 5 * time.Second}, {6 * time.Second, 6 * time.Second},
		{100 * 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour},
	} {
		if got := pace.due(stored.Add(c.at), now).Sub(now); got != c.want {
			t.Errorf("%d: due after %v, want %v", i, got, c.want)
		}
	}
	slow := &tempo{speed: slowest}
	slow.due(stored, now)
	if got := slow.due(stored.Add(200*365*24*time.Hour), now); got.Before(now) {
		t.Errorf("an absurd pause is due at %v", got)
	}
	if fast := (&tempo{}); !fast.due(stored, now).Equal(now) {
		t.Error("at the largest speed something waits")
	}
}

func TestTime03MomentsOnTheCommandLine(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]moment{
		"": {}, "42": {serial: 42}, "9007199254740991": {serial: 1<<53 - 1},
		"now": {time: now}, "-1h": {time: now.Add(-time.Hour)}, "-90m30s": {time: now.Add(-90*time.Minute - 30*time.Second)},
		"-7d":                       {time: now.AddDate(0, 0, -7)},
		"2026-02-01T10:00:00Z":      {time: time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)},
		"2026-02-01T10:00:00.5Z":    {time: time.Date(2026, 2, 1, 10, 0, 0, 5e8, time.UTC)},
		"2026-02-01T10:00:00+02:00": {time: time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)},
		"2026-02-01 10:00":          {time: time.Date(2026, 2, 1, 10, 0, 0, 0, time.Local)},
		"2026-02-01":                {time: time.Date(2026, 2, 1, 0, 0, 0, 0, time.Local)},
	} {
		got, err := parseMoment("--from", text, now)
		if err != nil || got.serial != want.serial || !got.time.Equal(want.time) {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "--from is 0, a serial is 1 to 9007199254740991", "9007199254740992": "a serial is 1 to", "99999999999999999999999": "a serial is 1 to",
		"1h": "how long ago, such as -1h", "yesterday": "how long ago", "-": "how long ago", "-5": "how long ago", "-1000000h": "times begin with 1970",
		"-99999999d": "how long ago", "0001-01-01T00:00:00Z": "times begin with 1970", "2026-13-01": "how long ago",
	} {
		if _, err := parseMoment("--from", text, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, c := range []struct{ from, to, want string }{
		{"2027-01-01", "", "has not come yet"}, {"10", "9", "--from 10 is behind --to 9"}, {"-1h", "-2h", "is behind"}, {"", "x", "--to is"},
	} {
		if _, err := parseStretch(c.from, c.to, now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
