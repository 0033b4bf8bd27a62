package kv

import (
	"fmt"
	"testing"
)

// TestEveryWatchIsFound: for each key all patterns that match it are found, whatever their form.
func TestEveryWatchIsFound(t *testing.T) {
	words := []string{"a", "b", "long"}
	var keys []string
	for _, x := range words {
		keys = append(keys, x)
		for _, y := range words {
			keys = append(keys, x+"."+y)
			for _, z := range words {
				keys = append(keys, x+"."+y+"."+z, x+"."+y+"."+z+".a", x+"."+y+"."+z+".a.b")
			}
		}
	}
	table := NewMemoryTable(nil)
	var patterns []string
	for _, first := range []string{"", "a.", "*.", "long.", "lo."} {
		for _, second := range []string{"", "b.", "*."} {
			for _, third := range []string{"", "a.", "*."} {
				for _, last := range []string{"a", "b", "*", ">"} {
					patterns = append(patterns, first+second+third+last)
				}
			}
		}
	}
	for _, pattern := range patterns {
		if _, err := table.Watch(pattern, nil); err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
	}
	for _, key := range keys {
		want, got := 0, 0
		for _, pattern := range patterns {
			if Matches(pattern, key) {
				want++
			}
		}
		for _, w := range table.watching(key) {
			if Matches(w.pattern, key) {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d watches of %d are found", key, got, want)
		}
	}
}

// TestAWriteAsksFewWatches: before, each write of a seat was matched against the watches of all channels, and
// a subscriber of the last of many channels waited for all of them.
func TestAWriteAsksFewWatches(t *testing.T) {
	table := NewMemoryTable(nil)
	var stops []func()
	for _, pattern := range []string{"lease.*", "seat.*.*.n1.*"} {
		if _, err := table.Watch(pattern, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		stop, err := table.Watch(fmt.Sprintf("seat.app.c%d.>", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	if n := len(table.watching("seat.app.c999.n1.7")); n != 2 {
		t.Errorf("%d watches are asked, want that of the channel and that of the gateway", n)
	}
	for _, stop := range stops {
		stop()
	}
	if n := len(table.watches); n != 2 {
		t.Errorf("%d stems are left", n)
	}
}
