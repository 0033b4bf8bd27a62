package brokertest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

// testListing lists the channels after each way in which a channel appears or disappears. A channel is
// listed, on every node, if it has retained publications, and not because it was once published to or is
// attached.
func testListing(t *testing.T, b *backend) {
	if _, ok := b.Log.(broker.Listing); !ok {
		t.Skip("this log does not list channels")
	}
	app := b.Apps[0]
	eraser, ok := b.Log.(broker.Eraser)
	if !ok {
		t.Fatal("the log removes nothing when it is told to")
	}
	root := b.fresh()
	nodes := []broker.Log{b.Log}
	if b.Second != nil {
		nodes = append(nodes, b.Second(t))
	}
	listed := func(t *testing.T, want ...string) {
		t.Helper()
		for i, log := range nodes {
			var got []string
			defer func() {
				if t.Failed() {
					t.Logf("node %d lists %q, want %q", i, got, want)
				}
			}()
			// A replica may lag.
			eventually(t, "the channels are listed that have something", func() bool {
				var err error
				if got, err = log.(broker.Listing).Channels(t.Context(), app, root); err != nil {
					t.Fatal(err)
				}
				return cmp.Equal(got, want)
			})
		}
	}
	purge := func(channel string, before uint64) {
		t.Helper()
		if _, err := eraser.Purge(t.Context(), app, channel, before); err != nil {
			t.Fatal(err)
		}
	}
	one, two, followed := root+"-1", root+"-2", root+"-3"
	attach(t, b.Log, app, followed)
	listed(t)
	positions := publish(t, b.Log, app, one, number(3)...)
	publish(t, b.Log, app, two, "x")
	publish(t, b.Log, app, followed, "x")
	listed(t, one, two, followed)
	// Purge a part of the channel.
	purge(one, positions[2].Offset)
	listed(t, one, two, followed)
	// Purge the rest by offset, and all, also of a followed channel.
	purge(one, positions[2].Offset+1)
	listed(t, two, followed)
	purge(followed, 0)
	listed(t, two)
	purge(root+"-never", 0)
	listed(t, two)
	publish(t, b.Log, app, one, "again")
	publish(t, b.Log, app, followed, "again")
	listed(t, one, two, followed)
	if b.Evict != nil {
		for _, channel := range []string{two, one, followed} {
			b.Evict(t, app, channel)
		}
		listed(t)
		publish(t, b.Log, app, two, "after an age")
		listed(t, two)
	}
	if b.Reopen != nil {
		publish(t, b.Log, app, one, "before it was closed")
		purge(one, 0)
		nodes = []broker.Log{b.Reopen(t)}
		listed(t, two)
	}
}
