package turns

import (
	"fmt"
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
		a.Soon(now, "c")
		d := time.Duration(a.at.Load() - now.UnixNano())
		if a.Soon(now.Add(time.Minute), "d"); time.Duration(a.at.Load()-now.UnixNano()) != d {
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
	a.Soon(now, "c")
	a.Never()
	if a.Soon(now, "c"); a.Due(now.Add(time.Hour)) {
		t.Error("due for a client that asks again by itself")
	}
}

// TestAnewForgetsWhatWasServed: a client that had asked again by itself lost its connection all the same.
func TestAnewForgetsWhatWasServed(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Hour)
	var a Anew
	a.Served("never refused")
	a.Soon(now, "c")
	a.Soon(now, "d")
	if a.Served("c"); !a.Due(later) {
		t.Error("not due though another one is still refused")
	}
	if a.Served("d"); a.Due(later) {
		t.Error("due though everything was served")
	}
	if a.Soon(now, "c"); !a.Due(later) {
		t.Error("not due after another refusal")
	}
	for i := range 2 * anewMost {
		a.Soon(now, fmt.Sprint(i))
	}
	for i := range 2 * anewMost {
		a.Served(fmt.Sprint(i))
	}
	if a.Served("c"); !a.Due(later) {
		t.Error("not due though more was refused than is remembered")
	}
	if a.Never(); a.Due(later) {
		t.Error("due for a client that asks again by itself")
	}
	if a.Served("c"); a.Due(later) || a.at.Load() >= 0 {
		t.Error("a client that asks again by itself is forgotten")
	}
}
