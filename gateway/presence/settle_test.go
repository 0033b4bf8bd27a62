package presence

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/kv"
)

// TestWhatAStoppedGatewayCouldNotTellOthersTell: a stopping gateway gives up its seats at the last moment,
// when it no longer follows its channels. Another gateway tells who left, as for a gateway that died.
func TestWhatAStoppedGatewayCouldNotTellOthersTell(t *testing.T) {
	for _, inTime := range []bool{true, false} {
		t.Run(fmt.Sprintf("in time %v", inTime), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := kv.NewMemoryTable(nil)
				a, b := start(t, table, "a"), start(t, table, "b")
				a.join(t, "u1")
				agree(t, []string{"u1"}, a, b)
				ctx, end := context.WithCancel(t.Context())
				end()
				a.gate.set(!inTime)
				a.room.Leave("u1")
				a.Settle(ctx, []func() bool{a.room.Idle})
				a.room.Close()
				a.gate.set(false)
				a.Close(t.Context())
				var kinds []Kind
				eventually(t, "it is told", func() bool {
					kinds = nil
					for _, c := range append(a.told(), b.told()...) {
						// A change that is told twice has one id.
						if !slices.Contains(kinds, c.Kind) {
							kinds = append(kinds, c.Kind)
						}
					}
					return len(kinds) == 2
				})
				if diff := cmp.Diff([]Kind{Added, Removed}, kinds); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
				eventually(t, "the gateway is forgotten", func() bool { return slices.Equal(b.Nodes(), []string{"b"}) })
				if n, late := b.Stats().Burials, len(b.told()) > 0; late == inTime || (n > 0) == inTime {
					t.Errorf("there were %d burials, and the other gateway told %v", n, b.told())
				}
			})
		})
	}
}
