package presence

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// noted is a table that records the numbers of subscriptions written, and the time.
type noted struct {
	kv.Table
	mu     sync.Mutex
	counts []int
	last   time.Time
}

func (w *noted) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if strings.HasPrefix(key, "seat.") {
		var c content
		_ = json.Unmarshal(value, &c)
		w.mu.Lock()
		w.counts, w.last = append(w.counts, c.Count), time.Now()
		w.mu.Unlock()
	}
	return w.Table.Put(ctx, key, value, ttl)
}

// has returns the number of writes, and the number and time of the last one.
func (w *noted) has() (times, newest int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.counts) == 0 {
		return 0, 0, time.Time{}
	}
	return len(w.counts), w.counts[len(w.counts)-1], w.last
}

// TestManySubscriptionsAreFewWrites: a thousand subscriptions within a second cause a few writes. The first
// subscription, the end of the last one and the final number are written without delay.
func TestManySubscriptionsAreFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &noted{Table: kv.NewMemoryTable(nil)}
		g := startWith(t, table, Options{Node: "a", Lease: longLease})
		for n := 1; n <= 1000; n++ {
			g.SetCount("app", "room", n)
			if synctest.Wait(); n == 1 {
				if times, newest, at := table.has(); times != 1 || newest != 1 || !at.Equal(time.Now()) {
					t.Fatalf("%d writes, the last of %d at %v, want 1 at once", times, newest, at)
				}
			}
			<-time.After(time.Millisecond)
		}
		<-time.After(countRest)
		synctest.Wait()
		times, newest, _ := table.has()
		if most := int(time.Second/countRest) + 2; newest != 1000 || times > most {
			t.Fatalf("%d writes, the last of %d; want 1000 with %d at most", times, newest, most)
		}
		for _, n := range []int{0, 1, 0, 5} {
			g.SetCount("app", "room", n)
			synctest.Wait()
			if _, newest, at := table.has(); newest != n || !at.Equal(time.Now()) {
				t.Fatalf("%d was written at %v, want %d at once", newest, at, n)
			}
		}
	})
}

// TestNumbersThatRestAreWritten: whatever numbers a channel has one after the other, the table has the newest
// within countRest.
func TestNumbersThatRestAreWritten(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			table, dice := &noted{Table: kv.NewMemoryTable(nil)}, rand.New(rand.NewPCG(seed, 1))
			g := startWith(t, table, Options{Node: "a", Lease: longLease})
			n := 0
			for range 40 {
				before := n
				n = dice.IntN(4) // 0 in many cases
				g.SetCount("app", "room", n)
				synctest.Wait()
				if _, newest, _ := table.has(); (before == 0 || n == 0) && newest != n {
					t.Fatalf("seed %d: the table has %d, want %d at once", seed, newest, n)
				}
				<-time.After(time.Duration(dice.IntN(60)) * time.Millisecond)
				if dice.IntN(4) == 0 {
					<-time.After(countRest)
					synctest.Wait()
					if _, newest, _ := table.has(); newest != n {
						t.Fatalf("seed %d: the table has %d, want %d", seed, newest, n)
					}
				}
			}
			n += 3
			g.SetCount("app", "room", n)
			g.flush(t.Context())
			if _, newest, _ := table.has(); newest != n {
				t.Fatalf("seed %d: the table has %d after all was written, want %d", seed, newest, n)
			}
		})
	}
}
