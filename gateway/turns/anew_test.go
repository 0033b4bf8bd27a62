package turns

import (
	"testing"
	"time"
)

func TestAnewIsSpreadAndOnceSaidStays(t *testing.T) {
	now := time.Now()
	var first, last time.Duration
	for range 1000 {
		var a Anew
		if a.Due(now.Add(time.Hour)) {
			t.Fatal("due though nothing was refused")
		}
		a.Soon(now)
		d := time.Duration(a.at.Load() - now.UnixNano())
		if a.Soon(now.Add(time.Minute)); time.Duration(a.at.Load()-now.UnixNano()) != d {
			t.Fatal("a second refusal puts it off")
		}
		if a.Due(now.Add(d-1)) || !a.Due(now.Add(d)) {
			t.Fatalf("not due at %v", d)
		}
		if first == 0 {
			first = d
		}
		first, last = min(first, d), max(last, d)
	}
	if first < 2*time.Second || last > 10*time.Second || last-first < 4*time.Second {
		t.Errorf("they come between %v and %v", first, last)
	}
	var a Anew
	a.Soon(now)
	a.Never()
	if a.Soon(now); a.Due(now.Add(time.Hour)) {
		t.Error("due for a client that asks again by itself")
	}
}
