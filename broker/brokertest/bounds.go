package brokertest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testBounds checks that a log stays small when its consumers or servers are slow.
func testBounds(t *testing.T, b *backend) {
	t.Run("what waits for a slow sink is bounded in bytes", func(t *testing.T) { testFeedBytes(t, b) })
	t.Run("retries that come together are one", func(t *testing.T) { testRetries(t, b) })
	for way, doubt := range b.Probe.Doubts {
		t.Run("no repair is outside the bound on repairs: "+way, func(t *testing.T) { testRepairsAtOnce(t, b, doubt) })
	}
}

// testFeedBytes blocks a sink while far more data arrives than may be queued for it. What did not fit is read
// from the log, and nothing is missing.
func testFeedBytes(t *testing.T, b *backend) {
	p := b.Probe
	if p.FeedBytes == 0 {
		t.Skip("the backend does not say what may wait")
	}
	app, channel := b.Apps[0], b.fresh()
	release := make(chan struct{})
	slow := newRecorder()
	slow.hold = release
	attachSink(t, b.Log, app, channel, slow)
	size := 4 * p.FeedBytes / channelRoom
	data := make([]string, channelRoom)
	for i := range data {
		data[i] = fmt.Sprintf("%04d%s", i, strings.Repeat("x", size-4))
	}
	positions := publish(t, b.Log, app, channel, data...)
	close(release)
	pubs := slow.await(t, positions[len(positions)-1].Offset)
	if diff := cmp.Diff(offsetsOf(pubs), offsets(positions)); diff != "" {
		t.Errorf("offsets delivered (-) and in receipts (+):\n%s", diff)
	}
	if p.Repaired == nil {
		return
	}
	// A quarter may have been queued, and one was with the sink.
	if got, least := p.Repaired(), uint64(channelRoom/2); got < least {
		t.Errorf("%d of %d publications were read from the log, want at least %d: the others waited, %d bytes each",
			got, channelRoom, least, size)
	}
}

// testRetries makes the comparison of channels fail very often, as it does while a server is away. However
// often a retry was requested, only one is pending.
func testRetries(t *testing.T, b *backend) {
	if b.Probe.Retry == nil {
		t.Skip("the backend compares nothing")
	}
	const times = 1000
	before := runtime.NumGoroutine()
	for range times {
		b.Probe.Retry()
	}
	// Other tests may run at the same time, with goroutines of their own.
	if more := runtime.NumGoroutine() - before; more > times/2 {
		t.Errorf("%d retries made %d goroutines", times, more)
	}
}

// testRepairsAtOnce makes the log doubt many channels while its servers do not answer.
func testRepairsAtOnce(t *testing.T, b *backend, doubt func(app, channel string)) {
	p, app := b.Probe, b.Apps[0]
	channels := make([]string, 3*p.RepairsAtOnce)
	sinks := make([]*recorder, len(channels))
	for i := range channels {
		channels[i] = b.fresh()
		sinks[i], _ = attach(t, b.Log, app, channels[i])
		sinks[i].await(t, publish(t, b.Log, app, channels[i], "before")[0].Offset)
	}
	resume := p.Stall()
	defer resume()
	for _, c := range channels {
		doubt(app, c)
	}
	eventually(t, fmt.Sprintf("the bound on repairs knows of %d", len(channels)), func() bool {
		underWay, waiting := p.Repairs(app)
		if underWay > p.RepairsAtOnce {
			t.Fatalf("%d repairs are under way, want at most %d", underWay, p.RepairsAtOnce)
		}
		return underWay+waiting >= len(channels)
	})
	resume()
	for i, c := range channels {
		sinks[i].await(t, publish(t, b.Log, app, c, "after")[0].Offset)
	}
}
