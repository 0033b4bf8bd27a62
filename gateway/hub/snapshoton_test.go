package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestTime16SnapshotsAreSwitchedOn: channel_snapshot can be switched on and off while channels are attached,
// even if the app allows neither resumes nor rewinds.
func TestTime16SnapshotsAreSwitchedOn(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) {
		a.HistoryEnabled, a.Rewind, a.Recovery = false, false, app.Recovery{}
	})
	put := func(patterns ...app.SnapshotPattern) {
		next := *r.hub.opt.Apps.ByID("app")
		next.Snapshots = patterns
		r.hub.opt.Apps.Replace(&next)
		r.hub.Apply(t.Context())
	}
	tell := func(n int) {
		for _, key := range []string{"a", "b"} {
			r.publishMany("ticker", n, n, keyed(key))
			n++
		}
	}
	tell(0)
	first, _ := r.second()
	first.join("ticker", "")
	tell(2)
	first.events(2)
	if n := r.channel("ticker").recent.High(); n == 0 {
		t.Error("what is published does not count as the past")
	}
	if n := r.hub.library.Bytes.Load(); n > 0 {
		t.Errorf("%d bytes are kept for nobody", n)
	}
	begins := func(want ...string) {
		t.Helper()
		p, _ := r.second()
		p.join("ticker", "")
		v1, _ := r.connect()
		v1.subscribe("ticker")
		if len(want) == 0 {
			p.alive()
			v1.usable()
			return
		}
		for _, got := range [][]string{p.events(len(want)), v1.events(len(want))} {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("snapshot (-want +got):\n%s", diff)
			}
		}
		if got, want := p.snapshotted(), (snapshotSaid{len(want), true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	begins()
	put(app.SnapshotPattern{Match: "tick*", Snapshot: app.Snapshot{On: true}})
	begins("2", "3")
	tell(4)
	first.events(2)
	begins("4", "5")
	put()
	begins()
	tell(6)
	first.events(2)
	put(app.SnapshotPattern{Match: "ticker", Snapshot: app.Snapshot{On: true}})
	begins("6", "7")
	first.alive()
}
