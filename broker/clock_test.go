package broker_test

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// TestClockTellsTheTimeOfTheLog: for a log whose clock is an hour ahead the log's time is returned, also
// after this machine's clock was set, and until the log is asked again.
func TestClockTellsTheTimeOfTheLog(t *testing.T) {
	var c broker.Clock
	here := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	if got := c.At(here); !got.Equal(here) {
		t.Errorf("before it was set: %v", got)
	}
	c.Set(here.Add(time.Hour), here)
	if got, want := c.At(here.Add(time.Minute)), here.Add(61*time.Minute); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.Set(time.Time{}, here)
	if got, want := c.At(here), here.Add(time.Hour); !got.Equal(want) {
		t.Errorf("an answer without a time: got %v, want %v", got, want)
	}
	c.Set(here.Add(-time.Hour), here)
	if got, want := c.At(here), here.Add(-time.Hour); !got.Equal(want) {
		t.Errorf("a log that is behind: got %v, want %v", got, want)
	}
}
