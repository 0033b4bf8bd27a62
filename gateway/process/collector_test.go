package process

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		alive, least int64
		want         int
	}{
		{0, 32 << 20, 800},
		{8 << 20, 32 << 20, 400},
		{32 << 20, 32 << 20, 100},
		{1 << 30, 32 << 20, 100},
		{8 << 20, 0, 100},
	} {
		if got := percentFor(c.alive, c.least); got != c.want {
			t.Errorf("%d bytes alive, at least %d of garbage: %d %%, want %d", c.alive, c.least, got, c.want)
		}
	}
}

// TestTheCollectorIsEased: a small heap is collected less often, and above the least size the usual
// percentage of live memory applies.
func TestTheCollectorIsEased(t *testing.T) {
	t.Setenv("GOGC", "")
	percent := func() int {
		now := debug.SetGCPercent(usualPercent)
		debug.SetGCPercent(now)
		return now
	}
	await := func(what string, holds func(int) bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for end := time.After(time.Minute); !holds(percent()); {
			runtime.GC()
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("%s: it is %d %%", what, percent())
			}
		}
	}
	const least = 64 << 20
	stop := (&Memory{}).EaseCollector(least)
	await("a small heap", func(now int) bool { return now > 2*usualPercent })
	large := make([]byte, 2*least)
	await("a large heap", func(now int) bool { return now == usualPercent })
	runtime.KeepAlive(large)
	large = nil
	await("a small heap again", func(now int) bool { return now > 2*usualPercent })
	stop()
	if now := percent(); now != usualPercent {
		t.Errorf("afterwards it is %d %%", now)
	}
	(&Memory{Collector: 4 << 20}).EaseCollector(least)()
	t.Setenv("GOGC", "150")
	debug.SetGCPercent(150)
	(&Memory{}).EaseCollector(least)()
	if now := debug.SetGCPercent(usualPercent); now != 150 {
		t.Errorf("what GOGC says was changed to %d %%", now)
	}
}
