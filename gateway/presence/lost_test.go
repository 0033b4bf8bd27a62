package presence

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// TestTrust15WhoLeavesATableThatLostEverythingIsTold: a member leaves after the table has lost its seat, as a
// store without a file does when it is killed. Its removal is told once, whatever was written until then.
func TestTrust15WhoLeavesATableThatLostEverythingIsTold(t *testing.T) {
	compare := func(t *testing.T, all ...*gatewayT) {
		t.Helper()
		for _, g := range all {
			if err := g.room.sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, story := range map[string]func(t *testing.T, lose func(), g, other *gatewayT){
		"before he is written again": func(t *testing.T, lose func(), g, other *gatewayT) {
			g.gate.set(true)
			lose()
			compare(t, g, other)
			g.room.Leave("u")
			g.gate.set(false)
		},
		"before that is written": func(t *testing.T, lose func(), g, other *gatewayT) {
			g.gate.set(true)
			g.room.Leave("u")
			lose()
			compare(t, g, other)
			g.gate.set(false)
		},
		"before that is written, and the lease is found lost": func(t *testing.T, lose func(), g, other *gatewayT) {
			g.gate.set(true)
			g.room.Leave("u")
			lose()
			if err := g.verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.gate.set(false)
			compare(t, g, other)
		},
		"before anybody hears of it": func(t *testing.T, lose func(), g, other *gatewayT) {
			g.room.stop()
			g.room.Leave("u")
			g.flush(t.Context())
			lose()
			compare(t, g, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := kv.NewMemoryTable(nil)
			with := func(node string) *gatewayT {
				return startWith(t, table, Options{Node: node, Lease: longLease, Members: func(string) bool { return true }})
			}
			g, other := with("one"), with("other")
			g.join(t, "u")
			agree(t, []string{"u"}, g, other)
			story(t, func() {
				if err := table.Purge(t.Context(), "seat.>", math.MaxUint64); err != nil {
					t.Fatal(err)
				}
			}, g, other)
			agree(t, nil, g, other)
			count := func(kind Kind) (n int) {
				for _, g := range []*gatewayT{g, other} {
					for _, c := range g.told() {
						if c.Kind == kind && (c.User == "u" || kind == Vacated) {
							n++
						}
					}
				}
				return n
			}
			eventually(t, "he is told to have left", func() bool { return count(Removed) > 0 && count(Vacated) > 0 })
			compare(t, g, other)
			g.flush(t.Context())
			if added, removed := count(Added), count(Removed); added != 1 || removed != 1 || count(Vacated) != 1 {
				t.Errorf("he was told to have come %d times and to have left %d times, and the channel to be vacated %d times", added, removed, count(Vacated))
			}
		})
	}
}

// unheard is a table that stores the first write of a seat and loses the answer after a while.
type unheard struct {
	kv.Table
	first chan struct{}
}

func (u *unheard) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	revision, err := u.Table.Put(ctx, key, value, ttl)
	if _, ok := nodeOf(key); ok {
		select {
		case <-u.first:
			<-time.After(time.Second)
			return 0, fmt.Errorf("%w: the answer was lost", kv.ErrUnavailable)
		default:
		}
	}
	return revision, err
}

// TestASeatWhoseAnswerIsLostIsNoGhost: a member that has left by the time this is noticed does not stay for
// ever.
func TestASeatWhoseAnswerIsLostIsNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &unheard{kv.NewMemoryTable(nil), make(chan struct{}, 1)}
		a, b := start(t, table, "a"), start(t, table, "b")
		table.first <- struct{}{}
		ctx, end := context.WithTimeout(t.Context(), time.Second/2)
		defer end()
		if err := a.room.Join(ctx, "u1", nil, 1); err == nil {
			t.Error("a join that is not known to be stored succeeded")
		}
		table.first <- struct{}{}
		a.SetCount("app", "presence-room", 1)
		<-time.After(time.Second / 2)
		a.SetCount("app", "presence-room", 0)
		eventually(t, "nobody is in", func() bool { return a.room.Idle() && len(b.members()) == 0 })
		agree(t, nil, a, b)
		if n, _, _ := b.room.Counts(); n != 0 {
			t.Errorf("%d are counted", n)
		}
	})
}
