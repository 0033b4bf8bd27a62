package streams

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/kvtest"
)

func TestTable(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Table {
		table, err := open(t, options(node(t, t.TempDir()))).OpenTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return table
	})
}

// audited counts how often it was told that writes may have been missed.
type audited struct {
	mu   *sync.Mutex
	told int
}

func (*audited) Changed(kv.Record) {}

func (a *audited) Lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told++
}

// TestTrust18AuditsAreFair has more watchers than one audit tells. All have their turn
// before anybody has the next one.
func TestTrust18AuditsAreFair(t *testing.T) {
	opt := options(node(t, t.TempDir()))
	opt.AuditInterval = 10 * time.Millisecond
	table, err := open(t, opt).OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	all := make([]*audited, 5*tableAudit)
	for i := range all {
		all[i] = &audited{mu: &mu}
		stop, err := table.Watch(fmt.Sprintf("seat.a.room%d.>", i), all[i])
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	seen := func() (least, most int) {
		mu.Lock()
		defer mu.Unlock()
		least = all[0].told
		for _, a := range all {
			least, most = min(least, a.told), max(most, a.told)
		}
		return least, most
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for least, most := 0, 0; least < 6; least, most = seen() {
		// Who began to watch in the middle of a round waits for the next one.
		if most > least+2 {
			t.Fatalf("one watcher was audited %d times, another one %d times", most, least)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute a watcher was audited %d times", least)
		}
	}
}
