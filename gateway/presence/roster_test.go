package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

const patience = 3 * time.Minute

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// gate is a table whose users can be cut off from it.
type gate struct {
	kv.Table
	mu  sync.Mutex
	cut bool
}

func (g *gate) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if g.closed() {
		return 0, kv.ErrUnavailable
	}
	return g.Table.Put(ctx, key, value, ttl)
}

func (g *gate) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	if g.closed() {
		return 0, kv.ErrUnavailable
	}
	return g.Table.Swap(ctx, key, value, ttl, revision)
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut
}

func (g *gate) set(cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = cut
}

// gatewayT is a roster with one room, which records the changes it was told.
type gatewayT struct {
	*Roster
	gate *gate
	room *Room

	mu    sync.Mutex
	seen  []Change
	owned []Change
}

func (g *gatewayT) Changed(_ uint64, changes []Change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, changes...)
}

func (g *gatewayT) told() []Change {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.owned)
}

// view returns the members according to the changes alone.
func (g *gatewayT) view() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var in []string
	for _, c := range g.seen {
		switch c.Kind {
		case Added:
			if slices.Contains(in, c.User) {
				in = append(in, "twice: "+c.User)
			}
			in = append(in, c.User)
		case Removed:
			in = slices.DeleteFunc(in, func(u string) bool { return u == c.User })
		}
	}
	slices.Sort(in)
	return in
}

func (g *gatewayT) members() []string {
	all, _ := g.room.Members()
	var out []string
	for _, m := range all {
		out = append(out, m.User)
	}
	slices.Sort(out)
	return out
}

func start(t *testing.T, table kv.Table, node string) *gatewayT {
	t.Helper()
	return startWith(t, table, Options{Node: node, Lease: longLease})
}

// buriedOnce waits until one burial is counted, which happens after the change of members.
func buriedOnce(t *testing.T, all ...*gatewayT) {
	t.Helper()
	eventually(t, "there was one burial", func() bool {
		n := uint64(0)
		for _, g := range all {
			n += g.Stats().Burials
		}
		return n == 1
	})
}

// longLease is a lease that is not lost on a busy machine.
const longLease = 13 * time.Second

// expire makes gateways believe that they have not heard of another one for longer than its lease, or that it
// was buried long ago.
func expire(node string, by ...*gatewayT) {
	for _, g := range by {
		r := g.Roster
		last, _ := r.opt.Table.Read(r.ctx, leaseKey(node))
		r.mu.Lock()
		long := r.opt.Now().Add(-2 * r.opt.Lease)
		if p := r.peers[node]; p != nil {
			p.seen, p.buried, p.lease = long, long, last.Revision
		}
		r.steady = long
		r.mu.Unlock()
	}
}

func startWith(t *testing.T, table kv.Table, opt Options) *gatewayT {
	t.Helper()
	g := &gatewayT{gate: &gate{Table: table}}
	opt.Table, opt.Tell = g.gate, func(_, _ string, c Change) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.owned = append(g.owned, c)
	}
	var err error
	g.Roster, err = New(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g.Close(ctx)
	})
	if g.room, err = g.Open(t.Context(), "app", "presence-room", g); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.room.Close)
	return g
}

func (g *gatewayT) join(t *testing.T, users ...string) {
	t.Helper()
	for _, u := range users {
		if err := g.room.Join(t.Context(), u, json.RawMessage(`{"at":"`+g.opt.Node+`"}`), 100); err != nil {
			t.Fatal(err)
		}
	}
}

// die ends a gateway as kill -9 does.
func (g *gatewayT) die() {
	g.stop.Do(func() {
		g.unwatch()
		g.ownMu.Lock()
		g.cancel()
		g.ownMu.Unlock()
		g.work.Broadcast()
		g.running.Wait()
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}

func agree(t *testing.T, want []string, gateways ...*gatewayT) {
	t.Helper()
	for _, g := range gateways {
		eventually(t, fmt.Sprintf("%s has members %v", g.opt.Node, want), func() bool {
			return slices.Equal(g.members(), want) && slices.Equal(g.view(), want)
		})
	}
}

func TestUsersOfSeveralGateways(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	a, b := start(t, table, "a"), start(t, table, "b")
	a.join(t, "u1", "u2", "u1")
	b.join(t, "u1", "u3")
	agree(t, []string{"u1", "u2", "u3"}, a, b)
	if all, _ := b.room.Members(); string(all[0].Info) != `{"at":"a"}` {
		t.Errorf("the second connection's info %s replaced the first's", all[0].Info)
	}
	a.room.Leave("u1")
	a.room.Leave("u1")
	b.room.Leave("u3")
	agree(t, []string{"u1", "u2"}, a, b)
	b.room.Leave("u1")
	agree(t, []string{"u2"}, a, b)
	got, err := start(t, table, "c").Users(t.Context(), "app", "presence-room")
	if err != nil || !slices.Equal(got, []string{"u2"}) {
		t.Errorf("a newcomer sees %v, %v", got, err)
	}
	count := map[Kind]int{}
	for _, c := range append(a.told(), b.told()...) {
		count[c.Kind]++
	}
	if count[Added] != 3 || count[Removed] != 2 {
		t.Errorf("told of %d who came and %d who went, want 3 and 2", count[Added], count[Removed])
	}
}

func TestRoomsHaveALimit(t *testing.T) {
	a := start(t, kv.NewMemoryTable(nil), "a")
	a.join(t, "u1", "u2")
	if err := a.room.Join(t.Context(), "u3", nil, 2); !errors.Is(err, ErrFull) {
		t.Errorf("one too many gave %v", err)
	}
	if err := a.room.Join(t.Context(), "u2", nil, 2); err != nil {
		t.Errorf("a second connection gave %v", err)
	}
}

func TestTheDeadLeaveOnce(t *testing.T) {
	t.Parallel()
	table := kv.NewMemoryTable(nil)
	a, b, c := start(t, table, "a"), start(t, table, "b"), start(t, table, "c")
	c.join(t, "u1", "u2", "both")
	a.join(t, "both", "u3")
	c.SetCount("app", "presence-room", 3)
	agree(t, []string{"both", "u1", "u2", "u3"}, a, b, c)
	eventually(t, "the count is known", func() bool { n, _, _ := a.room.Counts(); return n == 3 })
	c.die()
	expire("c", a, b)
	agree(t, []string{"both", "u3"}, a, b)
	eventually(t, "the seats are gone", func() bool {
		left, err := table.List(t.Context(), nodePattern("c"))
		return err == nil && len(left) == 0
	})
	removed, vacated := map[string]int{}, 0
	for _, ch := range append(a.told(), b.told()...) {
		switch ch.Kind {
		case Removed:
			removed[ch.User]++
		case Vacated:
			vacated++
		}
	}
	if len(removed) != 2 || removed["u1"] != 1 || removed["u2"] != 1 || vacated != 1 {
		t.Errorf("told of %v who went and %d times of the end, want u1 and u2 once", removed, vacated)
	}
	buriedOnce(t, a, b)
}

func TestWhoWasBuriedAliveComesBack(t *testing.T) {
	t.Parallel()
	table := kv.NewMemoryTable(nil)
	a, b := start(t, table, "a"), start(t, table, "b")
	a.join(t, "u1")
	b.join(t, "u2")
	agree(t, []string{"u1", "u2"}, a, b)
	b.gate.set(true)
	expire("b", a)
	agree(t, []string{"u1"}, a)
	b.room.Leave("u2")
	eventually(t, "a join that cannot be stored is refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return b.room.Join(ctx, "u9", nil, 100) != nil
	})
	b.gate.set(false)
	b.join(t, "u2", "u4")
	agree(t, []string{"u1", "u2", "u4"}, a, b)
	eventually(t, "the gateway knows that it was buried", func() bool { return b.Stats().Revivals == 1 })
	b.die()
	expire("b", a)
	agree(t, []string{"u1"}, a)
}

func TestAShortOutageBuriesNobody(t *testing.T) {
	t.Parallel()
	table := kv.NewMemoryTable(nil)
	a, b := start(t, table, "a"), start(t, table, "b")
	a.join(t, "u1")
	b.join(t, "u2")
	for range 3 {
		a.gate.set(true)
		b.gate.set(true)
		eventually(t, "both have noticed", func() bool { return a.Stats().Failures > 0 && b.Stats().Failures > 0 })
		a.gate.set(false)
		b.gate.set(false)
	}
	b.join(t, "u3")
	agree(t, []string{"u1", "u2", "u3"}, a, b)
	if n := a.Stats().Burials + b.Stats().Burials; n != 0 {
		t.Errorf("%d burials", n)
	}
}

// TestSuspicionDoesNotWaitForEver: a dead gateway is buried even if its writes may always have been missed.
func TestSuspicionDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	table := kv.NewMemoryTable(nil)
	a, b := start(t, table, "a"), start(t, table, "b")
	b.join(t, "u1")
	agree(t, []string{"u1"}, a)
	b.die()
	expire("b", a)
	eventually(t, "the dead one is buried", func() bool {
		leases{a.Roster}.Lost()
		return a.Stats().Burials == 1
	})
	agree(t, nil, a)
}

// eternal is a table whose records never expire, as if the clocks of its servers were behind.
type eternal struct{ kv.Table }

func (e eternal) Put(ctx context.Context, key string, value []byte, _ time.Duration) (uint64, error) {
	return e.Table.Put(ctx, key, value, 0)
}

func (e eternal) Swap(ctx context.Context, key string, value []byte, _ time.Duration, revision uint64) (uint64, error) {
	return e.Table.Swap(ctx, key, value, 0, revision)
}

// TestLeasesEndByOurClock kills a gateway whose lease the table keeps. Before, after the leader of the table
// changed to a server whose clock is an hour behind, members of the dead gateway stayed for an hour.
func TestLeasesEndByOurClock(t *testing.T) {
	t.Parallel()
	table := eternal{kv.NewMemoryTable(nil)}
	a, b, c := start(t, table, "a"), start(t, table, "b"), start(t, table, "c")
	b.join(t, "u1")
	c.join(t, "u2")
	agree(t, []string{"u1", "u2"}, a, b, c)
	c.die()
	expire("c", a, b)
	agree(t, []string{"u1"}, a, b)
	buriedOnce(t, a, b)
}
