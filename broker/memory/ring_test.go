package memory

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRingIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring[int]
		var twin []int
		next := 0
		for range rapid.IntRange(1, 20).Draw(t, "phases") {
			for range rapid.IntRange(0, 40).Draw(t, "pushes") {
				r.push(next)
				twin = append(twin, next)
				next++
			}
			for range rapid.IntRange(0, min(40, len(twin))).Draw(t, "pops") {
				if got := r.pop(); got != twin[0] {
					t.Fatalf("popped %d, want %d", got, twin[0])
				}
				twin = twin[1:]
			}
			if r.len() != len(twin) {
				t.Fatalf("length %d, want %d", r.len(), len(twin))
			}
			for i, want := range twin {
				if got := r.at(i); got != want {
					t.Fatalf("item %d is %d, want %d", i, got, want)
				}
			}
			if most := max(ringMin, 16*len(twin)); len(r.buf) > most {
				t.Fatalf("%d items hold room for %d", len(twin), len(r.buf))
			}
		}
	})
}
