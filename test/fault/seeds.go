package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seeds runs a fault test with two seeds, or, in a long run, with as many as FAULT_SEEDS
// says, from FAULT_SEED on. The seed is in the name of each run and decides with the
// salt of the test about victims and moments. The runs take turns with those of other
// tests, since each waits most of the time; what they share is cleaned up by t.Cleanup and
// not by defer.
func Seeds(t *testing.T, salt uint64, run func(t *testing.T, rnd *rand.Rand)) {
	t.Helper()
	t.Parallel()
	first, n := number(t, "FAULT_SEED", 1), number(t, "FAULT_SEEDS", 2)
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			run(t, rand.New(rand.NewPCG(seed, salt)))
		})
	}
}

// Long says whether this is a long run, which may do more than one that everybody waits
// for.
func Long() bool { return os.Getenv("FAULT_SEEDS") != "" }

func number(t *testing.T, name string, byDefault uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return byDefault
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
