package brokertest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Patience is how long the suite waits for a condition before it fails.
const Patience = 3 * time.Minute

// channelRoom is the number of publications that the suite stores in a channel if all of them must be
// retained. MaxMessages must be larger, so that a backend may prove completeness by counting.
const channelRoom = 60

// Backend is a log under test and what the suite must know about it. The factory that makes it registers the
// clean-up with t.Cleanup; the suite may have closed the log by then.
type Backend struct {
	// Log is open, empty and unused. Required.
	Log broker.Log
	// Apps are two different apps that exist in the log. Required.
	Apps [2]string
	// UnknownApp is an app that does not exist. Default "no-such-app".
	UnknownApp string
	// MaxMessages is the number of publications retained per channel, exactly.
	// 64 to 1000; age and bytes must not evict anything during the suite.
	// Required.
	MaxMessages int
	// MaxEventBytes is a size of data that is certainly refused, 0 if the backend has no limit.
	MaxEventBytes int
	// Scant means that the queues are so short that a cast event may be dropped next to a publish.
	Scant bool

	// Second opens another node on the same log; the factory cleans up. Nil if the backend has no nodes.
	Second func(t *testing.T) broker.Log
	// Reopen closes the log and opens another one on the same data; Log is not used afterwards. The factory
	// cleans up. Nil if the backend keeps no data.
	Reopen func(t *testing.T) broker.Log
	// Evict makes retention remove all publications of the channel, and perhaps others, as age or size would.
	// Nil if that cannot be caused.
	Evict func(t *testing.T, app, channel string)

	// Probe gives access to internals, as far as the backend provides it.
	Probe Probe
}

// Factory makes a new backend for a group of tests.
type Factory func(t *testing.T) Backend

// Run runs the whole suite. Each group gets a backend of its own.
func Run(t *testing.T, open Factory) {
	groups := []struct {
		name string
		run  func(t *testing.T, b *backend)
	}{
		{"publish", testPublish},
		{"cast", testCast},
		{"dedup", testDedup},
		{"events", testEvents},
		{"feed", testFeed},
		{"attach", testAttach},
		{"attach and give up", testPatience},
		{"bounds", testBounds},
		{"isolation", testIsolation},
		{"gateways", testGateways},
		{"read", testRead},
		{"paging", testPaging},
		{"after", testAfter},
		{"eviction", testEviction},
		{"purge", testPurge},
		{"listing", testListing},
		{"nodes", testNodes},
		{"reopen", testReopen},
		{"close", testClose},
		{"close while attaching", testCloseWhileAttaching},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			b := &backend{Backend: open(t)}
			b.check(t)
			g.run(t, b)
		})
	}
}

// backend is a Backend with what the tests share.
type backend struct {
	Backend
	channels atomic.Int64
}

func (b *backend) check(t *testing.T) {
	t.Helper()
	if b.Log == nil || b.Apps[0] == "" || b.Apps[1] == "" || b.Apps[0] == b.Apps[1] {
		t.Fatal("brokertest: Backend needs a Log and two different Apps")
	}
	if b.MaxMessages < 64 || b.MaxMessages > 1000 {
		t.Fatalf("brokertest: Backend.MaxMessages is %d, must be 64 to 1000", b.MaxMessages)
	}
	if b.UnknownApp == "" {
		b.UnknownApp = "no-such-app"
	}
}

// fresh returns a channel name that was not used before.
func (b *backend) fresh() string {
	return fmt.Sprintf("ch-%d", b.channels.Add(1))
}
