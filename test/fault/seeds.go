package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seeds runs a fault test with two seeds, or, in a long run, with FAULT_SEEDS seeds from FAULT_SEED on. The
// seed is in the name of each run; together with the salt of the test it decides about victims and moments.
// The runs are parallel with those of other tests, since each waits most of the time, so shared resources
// must be cleaned up by t.Cleanup and not by defer.
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

// Long reports whether this is a long run, in which tests may take more time.
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
