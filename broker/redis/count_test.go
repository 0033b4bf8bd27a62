package redis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluicehq/sluice/test/redisserver"
)

// TestCountingOverJumps: offsets jump where another run of a server goes on, and where an entry was removed
// by hand.
func TestCountingOverJumps(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	for name, c := range map[string]struct{ jumps, removed int }{
		"one run": {}, "another run": {jumps: 1}, "some runs": {jumps: 7}, "a hole": {removed: 1}, "holes": {jumps: 2, removed: 20},
		"more than are looked for": {removed: 90},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, uint64(c.removed)))
			k, id := l.keys.channel("app-1", name), uint64(1_700_000_000_000_000)
			var offsets []uint64
			jumps := rng.Perm(400)[:c.jumps]
			for i := range 400 {
				id++
				if slices.Contains(jumps, i) {
					id += 1_000_000 + rng.Uint64N(1<<40)
				}
				offsets = append(offsets, id)
			}
			for range c.removed {
				i := rng.IntN(len(offsets))
				offsets = slices.Delete(offsets, i, i+1)
			}
			for _, o := range offsets {
				server.Do(fmt.Sprintf("XADD %q %d-0 p %d t 1 f - e x", k.stream, o, o-1))
			}
			for range 50 {
				from := offsets[rng.IntN(len(offsets))] + rng.Uint64N(3) - 1
				at, _ := slices.BinarySearch(offsets, from)
				want := uint64(len(offsets) - at)
				if n, err := l.CountFrom(t.Context(), "app-1", name, from); err != nil || n != want {
					t.Errorf("from %d: %d, %v, want %d", from, n, err, want)
				}
			}
		})
	}
}
