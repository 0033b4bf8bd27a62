package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/redisserver"
)

// silent turns audits off, which would hide a dead feed.
func silent(o *Options) { o.AuditInterval = time.Hour }

// channelAt returns the name of a channel in a slot of a master.
func channelAt(l *Log, c *redisserver.Cluster, master int, prefix string) string {
	for i := 0; ; i++ {
		channel := prefix + strings.Repeat("x", i)
		if c.Owner(int(slotOf(l.keys.channel("app-1", channel).live))) == master {
			return channel
		}
	}
}

func attachTo(t *testing.T, l *Log, channel string) *witness {
	t.Helper()
	w := &witness{}
	at, err := l.Attach(t.Context(), "app-1", channel, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Detach)
	return w
}

// TestSlotsWithoutServer: before, two channels in slots without a server were subscribed to with one command
// on a connection for the whole cluster, and the client library panicked, because their slots differ.
func TestSlotsWithoutServer(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t)
	l := open(t, cluster.URL(), true, silent)
	one := attachTo(t, l, channelAt(l, cluster, 0, "one"))
	two := attachTo(t, l, channelAt(l, cluster, 0, "two-"))
	for _, s := range cluster.Masters {
		s.Do("CLUSTER DELSLOTSRANGE 0 5460")
	}
	until(t, "the loss of slots is noticed", func() bool {
		return strings.Contains(strings.Join(l.Health().Problems, "\n"), "live feed: "+errUncovered.Error())
	})
	cluster.Masters[0].Do("CLUSTER ADDSLOTSRANGE 0 5460")
	cluster.Whole()
	until(t, "the log is ready again", func() bool { return l.Health().Ready })
	for name, w := range map[string]*witness{channelAt(l, cluster, 0, "one"): one, channelAt(l, cluster, 0, "two-"): two} {
		publishOne(t, l, name, "x")
		until(t, "the event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	}
}

// TestSlotThatComesBack: a server ends the subscriptions of a slot that it gives away. Before, if it got the
// slot back before the next check of the slots, the channel stayed where it seemed to be and got no live
// messages for ever.
func TestSlotThatComesBack(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t)
	// The limit is above what the test publishes while it waits, however fast that goes.
	l := open(t, cluster.URL(), true, silent, func(o *Options) { o.Apps[0].MaxMessages = 10_000 })
	w := attachTo(t, l, "c")
	slot := int(slotOf(l.keys.channel("app-1", "c").live))
	home := cluster.Owner(slot)
	cluster.Move(slot, (home+1)%3, nil)
	cluster.Move(slot, home, nil)
	live := l.Stats().Live
	until(t, "live events arrive again", func() bool {
		_, err := l.Publish(t.Context(), "app-1", plain("c", "x"))
		return err == nil && l.Stats().Live > live
	})
	if _, gaps := w.seen(); len(gaps) > 0 {
		t.Errorf("gaps %+v, want none", gaps)
	}
}

// TestUnreachableMasterStopsNoOtherFeed: before, a connection to a master that does not answer was made under
// the lock that each live message of the other masters needs.
func TestUnreachableMasterStopsNoOtherFeed(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t)
	var hanging atomic.Bool
	dialled, release := make(chan struct{}, 64), make(chan struct{})
	l := open(t, cluster.URL(), true, silent, func(o *Options) {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if hanging.Load() && addr == cluster.Masters[0].Addr() {
				dialled <- struct{}{}
				<-release
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
	})
	defer close(release)
	attachTo(t, l, channelAt(l, cluster, 0, "a"))
	b := channelAt(l, cluster, 1, "b")
	attachTo(t, l, b)
	hanging.Store(true)
	cluster.Masters[0].Do("CLIENT KILL TYPE pubsub")
	select {
	case <-dialled:
	case <-time.After(3 * time.Minute):
		t.Fatal("nobody connects again")
	}
	live := l.Stats().Live
	publishOne(t, l, b, "x")
	until(t, "the event of another master arrives live", func() bool { return l.Stats().Live > live })
	attachTo(t, l, channelAt(l, cluster, 2, "c")).seen()
}

// TestWhoGivesUpAttachingDisturbsNobody: before, the end of a caller's context broke the connection that all
// channels share, and was also returned to other callers that attached the same channel.
func TestWhoGivesUpAttachingDisturbsNobody(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	attachTo(t, l, "old")
	l.subs.mu.Lock()
	had := l.subs.nodes[""]
	l.subs.mu.Unlock()
	server.Do("CLIENT PAUSE 5000 ALL")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	other := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		<-first
		at, err := l.Attach(t.Context(), "app-1", "new", &witness{})
		if err == nil {
			at.Detach()
		}
		other <- err
	}()
	go func() {
		for len(l.follow.Of("app-1")) < 2 && ctx.Err() == nil {
			<-time.After(time.Millisecond)
		}
		close(first)
	}()
	if _, err := l.Attach(ctx, "app-1", "new", &witness{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("attaching to a server that pauses: got %v, want the context's error", err)
	}
	if err := <-other; err != nil {
		t.Errorf("attaching with more patience: %v", err)
	}
	l.subs.mu.Lock()
	have := l.subs.nodes[""]
	l.subs.mu.Unlock()
	if have != had {
		t.Error("the connection for live messages was broken")
	}
}

// TestEndedWhileItIsPlaced: before, a channel that was detached before the server confirmed its subscription
// stayed subscribed for ever.
func TestEndedWhileItIsPlaced(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false)
	if err := l.subs.place(t.Context(), "", []*subscription{{channel: "unwanted"}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the server is told", func() bool {
		n, err := l.read.Do(t.Context(), l.read.B().PubsubNumsub().Channel("unwanted").Build()).ToArray()
		if err != nil || len(n) != 2 {
			return false
		}
		listening, err := n[1].AsInt64()
		return err == nil && listening == 0
	})
}
