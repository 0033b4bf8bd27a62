package brokertest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Patience is how long the suite waits for one condition before it fails.
const Patience = 3 * time.Minute

// channelRoom is the number of publications that the suite stores in a channel
// when it means them all to be retained. MaxMessages must be larger, so that a
// backend which proves completeness by counting can do so.
const channelRoom = 60

// Backend is a log under test with what the suite must know of it. The factory
// that makes it registers the clean-up with t.Cleanup; the suite may have closed
// the log by then.
type Backend struct {
	// Log is open, empty and never used before. Required.
	Log broker.Log
	// Apps are two different apps that exist in the log. Required.
	Apps [2]string
	// UnknownApp is an app that does not exist. Default "no-such-app".
	UnknownApp string
	// MaxMessages is the number of publications retained per channel, exactly.
	// 64 to 1000; age and bytes must not evict anything during the suite.
	// Required.
	MaxMessages int
	// MaxEventBytes is the size of data that is refused for sure, 0 if the
	// backend states no limit.
	MaxEventBytes int
	// Scant says that the queues are so short that what is cast may be dropped beside a
	// publish.
	Scant bool

	// Second opens another node on the same log; the factory cleans up. Nil if
	// the backend cannot.
	Second func(t *testing.T) broker.Log
	// Reopen closes the log, brings back another one on the same data, and
	// from then on Log is not used any more; the factory cleans up. Nil if the
	// backend keeps no data.
	Reopen func(t *testing.T) broker.Log
	// Evict makes retention remove everything that the channel holds, and
	// perhaps more, as its age or size would. Nil if it cannot be provoked.
	Evict func(t *testing.T, app, channel string)

	// Probe reaches inside, as far as the backend lets the suite.
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

// backend adds what the tests share.
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

// fresh returns the name of a channel that was not used before.
func (b *backend) fresh() string {
	return fmt.Sprintf("ch-%d", b.channels.Add(1))
}
