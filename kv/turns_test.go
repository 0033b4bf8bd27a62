package kv

import (
	"slices"
	"testing"
)

func TestTrust18EverybodyHasATurn(t *testing.T) {
	for _, test := range []struct{ n, all, rounds int }{{64, 10_000, 2}, {64, 64, 3}, {64, 3, 3}, {1, 5, 2}, {64, 0, 2}} {
		everybody := make([]int, test.all)
		for i := range everybody {
			everybody[i] = i
		}
		var turns Turns[int]
		for range test.rounds {
			var got []int
			for asked := 0; len(got) < test.all; asked++ {
				some := turns.Next(test.n, func() []int { return slices.Clone(everybody) })
				if len(some) > test.n || len(some) == 0 {
					t.Fatalf("%+v: %d had a turn at a time", test, len(some))
				}
				got = append(got, some...)
			}
			slices.Sort(got)
			if !slices.Equal(got, everybody) {
				t.Errorf("%+v: in one round %d of %d had a turn", test, len(slices.Compact(got)), test.all)
			}
		}
	}
}
