package main

import (
	"math"
	"strconv"
	"time"
)

// tempo computes when replayed events are due: the first one at once, and every other one as long after it as
// originally, divided by the speed. All times refer to the first event, so that delays do not add up. It has no
// clock.
type tempo struct {
	// speed is how many times faster than originally; 0 is as fast as possible.
	speed        float64
	began, first time.Time
	last         time.Time
}

const (
	slowest = 0.01
	fastest = 1e6
)

// parseSpeed parses the value of --speed.
func parseSpeed(text string) (float64, error) {
	if text == "max" {
		return 0, nil
	}
	speed, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(speed) || speed < slowest || speed > fastest {
		return 0, usage("--speed is %.40q, must be a number from %v to %.0f, or max", text, slowest, fastest)
	}
	return speed, nil
}

// due returns when an event is due that was stored at a time. It is never before the previous result, even if
// the clock of the log went back.
func (t *tempo) due(stored, now time.Time) time.Time {
	switch {
	case t.speed == 0:
		return now
	case t.began.IsZero():
		t.began, t.first, t.last = now, stored, now
	}
	after := float64(stored.Sub(t.first)) / t.speed
	due := t.began.Add(time.Duration(min(max(after, 0), math.MaxInt64/2)))
	if due.Before(t.last) {
		due = t.last
	}
	t.last = due
	return due
}
