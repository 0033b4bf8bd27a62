package presence

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/kv"
)

// TestWhoComesBackAsSomebodyElseLeavesFirst: a client that unsubscribes and at once subscribes again with
// another info is first removed with the old one, however slow the table is.
func TestWhoComesBackAsSomebodyElseLeavesFirst(t *testing.T) {
	for _, c := range []struct {
		about string
		stays bool // by another connection
		info  json.RawMessage
		want  string
		kinds []Kind
	}{
		{"another info", false, json.RawMessage(`{"at": "the bar"}`), `{"at":"the bar"}`, []Kind{Added, Removed, Added}},
		{"none", false, nil, "", []Kind{Added, Removed, Added}},
		{"the same", false, json.RawMessage(`{"at": "a"}`), `{"at":"a"}`, []Kind{Added}},
		{"he stays elsewhere", true, json.RawMessage(`{"at":"the bar"}`), `{"at":"a"}`, []Kind{Added}},
	} {
		t.Run(c.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := kv.NewMemoryTable(nil)
				a, b := start(t, table, "a"), start(t, table, "b")
				a.join(t, "u1")
				if c.stays {
					b.join(t, "u1")
				}
				agree(t, []string{"u1"}, a, b)
				a.gate.set(true)
				a.room.Leave("u1")
				time.AfterFunc(2*time.Second, func() { a.gate.set(false) })
				if err := a.room.Join(t.Context(), "u1", c.info, 1); err != nil {
					t.Fatal(err)
				}
				agree(t, []string{"u1"}, a, b)
				for _, g := range []*gatewayT{a, b} {
					if all, _ := g.room.Members(); string(all[0].Info) != c.want {
						t.Errorf("on %s the user is %s, want %s", g.opt.Node, all[0].Info, c.want)
					}
				}
				var kinds []Kind
				for _, change := range a.told() {
					kinds = append(kinds, change.Kind)
				}
				if diff := cmp.Diff(c.kinds, kinds); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestOneUserWithTwoInfosIsTheSameEverywhere: two clients of one user join on two gateways at the same moment
// with different infos. Everybody sees the first one, also a client that joins after its gateway has given
// the user up.
func TestOneUserWithTwoInfosIsTheSameEverywhere(t *testing.T) {
	for _, first := range []string{"a", "b"} {
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := kv.NewMemoryTable(nil)
				slow := newHeld(table)
				gateways := map[string]*gatewayT{"a": startWith(t, slow, Options{Node: "a", Lease: longLease}), "b": startWith(t, slow, Options{Node: "b", Lease: longLease})}
				slow.hold()
				joined := make(chan error, 2)
				second := map[string]string{"a": "b", "b": "a"}[first]
				for _, node := range []string{first, second} {
					room := gateways[node].room
					go func() { joined <- room.Join(t.Context(), "u1", json.RawMessage(`{"at": "`+node+`"}`), 10) }()
					synctest.Wait()
				}
				slow.letGo()
				for range 2 {
					if err := <-joined; err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				all, _ := gateways[first].room.Members()
				want := string(all[0].Info)
				sees := func(g *gatewayT) {
					t.Helper()
					all, _ := g.room.Members()
					if len(all) != 1 || string(all[0].Info) != want {
						t.Errorf("on %s the members are %+v, want %s", g.opt.Node, all, want)
					}
				}
				sees(gateways[second])
				leaves := gateways["a"]
				if want != `{"at":"a"}` {
					leaves = gateways["b"]
				}
				leaves.room.Leave("u1")
				synctest.Wait()
				sees(gateways["a"])
				sees(gateways["b"])
				sees(startWith(t, table, Options{Node: "c", Lease: longLease}))
			})
		})
	}
}
