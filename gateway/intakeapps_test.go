package gateway

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestRun02TheShareOfAppsThatComeAndGo: the shares follow the present number of apps, however many there were
// when something was counted. Nothing is left when nothing is in progress.
func TestRun02TheShareOfAppsThatComeAndGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := 2
		in := &intake{apps: func() int { return n }, maxEvents: 1000, maxBytes: 1 << 20}
		under := map[string][]load{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n = rapid.IntRange(0, 20).Draw(t, "apps")
			id := fmt.Sprint("app-", rapid.IntRange(0, 3).Draw(t, "app"))
			if some := under[id]; len(some) > 0 && rapid.Bool().Draw(t, "leaves") {
				in.leave(id, some[0])
				under[id] = some[1:]
			} else if more := (load{rapid.Int64Range(1, 300).Draw(t, "events"), 1000}); in.enter(id, more) {
				under[id] = append(some, more)
			}
			var want load
			for _, l := range in.byApp {
				e := in.excess(l)
				want.events, want.bytes = want.events+e.events, want.bytes+e.bytes
			}
			if in.beyond != want {
				t.Fatalf("%+v is counted beyond the parts of %d apps, want %+v", in.beyond, n, want)
			}
		}
		for id, some := range under {
			for _, l := range some {
				in.leave(id, l)
			}
		}
		if in.beyond != (load{}) || in.events != 0 || in.bytes != 0 || len(in.byApp) != 0 {
			t.Fatalf("%+v, %d events and %d bytes are left", in.beyond, in.events, in.bytes)
		}
	})
}
