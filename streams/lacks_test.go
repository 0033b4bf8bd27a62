package streams

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/follow"
)

// TestTrust01LostMessagesConcernTheirAppAlone: before, each live message for which there was no room
// disturbed all apps, and had all of them compared and the whole table read again.
func TestTrust01LostMessagesConcernTheirAppAlone(t *testing.T) {
	server := node(t, t.TempDir())
	opt := options(server)
	opt.Apps = nil
	for _, id := range []string{"app-1", "app-2"} {
		opt.Apps = append(opt.Apps, AppOptions{ID: id, Secrets: []Secret{"secret"}, MaxMessages: 100, MaxBytes: 8 << 20})
	}
	l := open(t, opt)
	attached, err := l.Attach(t.Context(), "app-1", "c", &sink{})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Detach()
	subject := liveSubject(opt.Prefix, "app-1", "c")
	var sounded atomic.Int64
	l.tables.Add(func() { sounded.Add(1) })
	mine, other := l.apps.Of("app-1"), l.apps.Of("app-2")
	before, others, scans := mine.upset.Load(), other.upset.Load(), l.stats.Scans.Load()
	s := &feedShard{log: l, number: l.follow.Lookup(subject).Shard(), queue: follow.NewQueue[live](1, 1000)}
	for range 4 {
		s.enter(&nats.Msg{Subject: subject})
	}
	if n := l.stats.Slow.Load(); n != 3 {
		t.Fatalf("%d messages were lost, want three", n)
	}
	awaitTrue(t, "the app is compared", func() bool { return l.stats.Scans.Load() > scans })
	if n, m := mine.upset.Load()-before, other.upset.Load()-others; n != 3 || m != 0 {
		t.Errorf("the app was upset %d times and another one %d times, want 3 and 0", n, m)
	}
	if n := sounded.Load(); n != 0 {
		t.Errorf("tables were to be read again %d times because of an event", n)
	}
}

// TestTrust01UpsettingAnAppCostsTheSameEachTime: before, after 1,024 times everything remembered was
// collected and searched.
func TestTrust01UpsettingAnAppCostsTheSameEachTime(t *testing.T) {
	h := &horizon{}
	times := uint64(0)
	upset := func() {
		h.upset(times)
		times++
	}
	h.look(7, time.Unix(1000, 0))
	h.look(9, time.Unix(1000, 0).Add(horizonPause))
	for range 4 * maxCalm {
		upset()
	}
	// A lock with a watchdog may record its holder; a copy of what is remembered takes a dozen allocations.
	if n := testing.AllocsPerRun(2000, upset); n > 3 {
		t.Errorf("it allocates %v times", n)
	}
	if n := len(h.calm); n != maxCalm {
		t.Errorf("%d are remembered, want %d", n, maxCalm)
	}
	if h.calmUntil(times-1) != 7 || h.calmUntil(times-maxCalm) != 7 || h.calmUntil(times-maxCalm-1) != 0 {
		t.Error("not the newest ones are remembered")
	}
}
