package main

import (
	"math"
	"strconv"
	"time"
)

// tempo says when events are due that are replayed at a speed: the first one at once, and
// each other one as long after it as it was then, by the speed. All times count from the
// first one, so that what one event is late by does not add up. It is fed with a clock.
type tempo struct {
	// speed is how much faster than then; 0 is as fast as can be.
	speed        float64
	began, first time.Time
	last         time.Time
}

const (
	slowest = 0.01
	fastest = 1e6
)

// parseSpeed reads the value of --speed.
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

// due returns when an event is due that was stored at a time. It is never before the one
// that was asked for last, also if the clock of the log went back in between.
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
