package quota

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/kv"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

const long = time.Minute

// gateway is a gateway with a quota.
type gateway struct {
	*Quota
	roster *presence.Roster
	// die ends it without a leave.
	die func()
}

// deaf is a table that does nothing for a gateway that has died.
type deaf struct {
	kv.Table
	dead context.Context
}

func (d deaf) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if d.dead.Err() != nil {
		return 0, kv.ErrUnavailable
	}
	return d.Table.Put(ctx, key, value, ttl)
}

func (d deaf) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	if d.dead.Err() != nil {
		return 0, kv.ErrUnavailable
	}
	return d.Table.Swap(ctx, key, value, ttl, revision)
}

func join(t *testing.T, table kv.Table, a *app.App, node string, sole bool) *gateway {
	t.Helper()
	dead, die := context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	// No gateway is buried for its silence during the test.
	roster, err := presence.New(ctx, presence.Options{Table: deaf{table, dead}, Node: node, Lease: time.Hour, Sole: sole})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{New(roster), roster, die}
	stop, err := g.Follow(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		die()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		roster.Close(ctx)
	})
	return g
}

// enter adds a connection, which may wait until long is over.
func (g *gateway) enter(t *testing.T, a *app.App) Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	return g.Enter(ctx, a)
}

func limited(n int) *app.App {
	return &app.App{ID: "app", Enabled: true, Limits: app.Limits{MaxConnections: n}}
}

// TestWS06OthersThatLiveConfirmTheirPart: one connection more than all gateways may have together is refused
// for good.
func TestWS06OthersThatLiveConfirmTheirPart(t *testing.T) {
	a, table := limited(3), kv.NewMemoryTable(nil)
	one, two := join(t, table, a, "one", false), join(t, table, a, "two", false)
	for i, g := range []*gateway{one, two, two} {
		if v := g.enter(t, a); v != Enter {
			t.Fatalf("connection %d: %d", i, v)
		}
	}
	for _, g := range []*gateway{one, two} {
		if v := g.enter(t, a); v != Full {
			t.Errorf("one too many: %d, want %d", v, Full)
		}
	}
	two.Leave(a)
	if v := one.enter(t, a); v != Enter {
		t.Errorf("after one has left: %d", v)
	}
}

// TestWS06WhoHasDiedRefusesNobodyForGood: clients of a dead gateway are refused only for a moment, if they
// reconnect to another gateway or to the next gateway of the same log.
func TestWS06WhoHasDiedRefusesNobodyForGood(t *testing.T) {
	for _, sole := range []bool{false, true} {
		a, table := limited(2), kv.NewMemoryTable(nil)
		one := join(t, table, a, "one", false)
		one.enter(t, a)
		one.enter(t, a)
		one.die()
		two := join(t, table, a, "two", sole)
		want := Unsure
		if sole {
			want = Enter // no other gateway can have died
		}
		if v := two.enter(t, a); v != want {
			t.Errorf("with a table of its own %v: %d, want %d", sole, v, want)
		}
	}
}

// TestWS06WhoIsLeavingRefusesNobodyForGood: a stopping gateway has asked its clients to leave, and one of
// them reconnects before others know that its old connection has ended. It is let in as soon as they do.
func TestWS06WhoIsLeavingRefusesNobodyForGood(t *testing.T) {
	a, table := limited(2), kv.NewMemoryTable(nil)
	one, two := join(t, table, a, "one", false), join(t, table, a, "two", false)
	one.enter(t, a)
	one.enter(t, a)
	one.Leaving()
	if v := two.enter(t, a); v != Unsure {
		t.Errorf("a client came while one is leaving: %d, want %d", v, Unsure)
	}
	came := make(chan Verdict)
	go func() { came <- two.enter(t, a) }()
	one.Leave(a)
	if v := <-came; v != Enter {
		t.Errorf("a client that came before its former gateway noticed: %d, want %d", v, Enter)
	}
}

// TestWhoWaitsForAVerdictIsBounded: connections beyond the bound are told to retry, and a client that
// disconnects waits no longer.
func TestWhoWaitsForAVerdictIsBounded(t *testing.T) {
	a, table := limited(1), kv.NewMemoryTable(nil)
	one, two := join(t, table, a, "one", false), join(t, table, a, "two", false)
	one.enter(t, a)
	two.waiting.Store(maxWaiting)
	if v := two.enter(t, a); v != Unsure {
		t.Errorf("beyond the bound: %d, want %d", v, Unsure)
	}
	two.waiting.Store(0)
	one.Leaving()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if v := two.Enter(gone, a); v != Unsure {
		t.Errorf("whoever hangs up: %d, want %d", v, Unsure)
	}
	if n := two.waiting.Load(); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// TestAnAppWithoutConnectionsTakesNoRoom: the app may have been removed.
func TestAnAppWithoutConnectionsTakesNoRoom(t *testing.T) {
	q, a := New(nil), limited(2)
	for range 2 {
		if v := q.Enter(t.Context(), a); v != Enter {
			t.Fatalf("the verdict is %d", v)
		}
	}
	q.Leave(a)
	if n := q.Here(a.ID); n != 1 {
		t.Errorf("%d connections are left, want 1", n)
	}
	q.Leave(a)
	if n := len(q.here); n != 0 {
		t.Errorf("%d apps are remembered that have no connections", n)
	}
}

// TestWhatIsHereAndElsewhere: connections are counted for each app and in total, and those on other gateways
// as long as they are followed, even if an earlier follower has ended.
func TestWhatIsHereAndElsewhere(t *testing.T) {
	a, table := limited(9), kv.NewMemoryTable(nil)
	free := &app.App{ID: "free", Enabled: true}
	one, two := join(t, table, a, "one", false), join(t, table, a, "two", false)
	for range 3 {
		one.enter(t, a)
	}
	one.enter(t, free)
	if one.Here("app") != 3 || one.Here("free") != 1 || one.All() != 4 || two.All() != 0 {
		t.Errorf("here are %d and %d, in all %d, there %d", one.Here("app"), one.Here("free"), one.All(), two.All())
	}
	one.Leave(free)
	if one.Here("free") != 0 || one.All() != 3 || len(one.here) != 1 {
		t.Errorf("here are %d of %d, of %d apps", one.Here("free"), one.All(), len(one.here))
	}
	elsewhere := func(want int) bool {
		n, followed := two.Elsewhere("app")
		return n == want && followed
	}
	for end := time.Now().Add(long); !elsewhere(3); {
		if time.Now().After(end) {
			t.Fatal("what is elsewhere does not come")
		}
		<-time.After(time.Millisecond)
	}
	if n, followed := two.Elsewhere("free"); n != 0 || followed {
		t.Errorf("%d are elsewhere of an app that nobody follows", n)
	}
	// There are two followers, and the first one ends last.
	first, err := two.Follow(t.Context(), "free")
	if err != nil {
		t.Fatal(err)
	}
	second, err := two.Follow(t.Context(), "free")
	if err != nil {
		t.Fatal(err)
	}
	first()
	if _, followed := two.Elsewhere("free"); !followed {
		t.Error("an end that is not its own ends what is followed")
	}
	second()
	if _, followed := two.Elsewhere("free"); followed {
		t.Error("an app is followed for ever")
	}
}
