package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/test/redisserver"
)

func plain(channel, data string) broker.Outgoing {
	return broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(data)}}
}

// TestReadyAgainWithoutTraffic: a gateway that is not ready gets no traffic, so the problem of a failed
// publish must clear without a further publish.
func TestReadyAgainWithoutTraffic(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, "--appendonly", "yes")
	l := open(t, server.URL(), false, func(o *Options) { o.PublishTimeout = 300 * time.Millisecond })
	server.Kill()
	// On a busy machine there may be no second attempt within the time-out, which would name the problem.
	until(t, "it is named", func() bool {
		if _, err := l.Publish(t.Context(), "app-1", plain("c", "x")); err == nil {
			t.Fatal("published to a dead server")
		}
		return strings.Contains(problems(l), "storing events")
	})
	server.Restart()
	until(t, "the log is ready again", func() bool { return l.Health().Ready })
}

// TestIDsWhileTheirMasterIsDown: publishers' ids may be looked up at another master than the channel's.
// Before, a failed look-up was not retried.
func TestIDsWhileTheirMasterIsDown(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t, "--appendonly", "yes")
	l := open(t, cluster.URL(), true, func(o *Options) { o.PublishTimeout = time.Minute })
	home := cluster.Owner(int(slotOf(l.keys.dedup("app-1"))))
	event := plain(channelAt(l, cluster, (home+1)%3, "c"), "x")
	event.Event.DedupID = "chosen"
	cluster.Masters[home].Kill()
	done := make(chan error, 1)
	go func() {
		_, err := l.Publish(t.Context(), "app-1", event)
		done <- err
	}()
	until(t, "it is tried again", func() bool { return l.Stats().Retries > 0 || len(done) > 0 })
	cluster.Masters[home].Restart()
	if err := <-done; err != nil {
		t.Errorf("publishing while a master restarts: %v", err)
	}
}

// TestOwnRetryIsNoDuplicate: when the answer to an attempt is lost, the next one finds the event stored.
// Before, the publisher was told that the event was a duplicate.
func TestOwnRetryIsNoDuplicate(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, func(o *Options) { o.PublishTimeout = time.Minute })
	server.Do("CLIENT PAUSE 6000 ALL") // longer than one attempt
	r, err := l.Publish(t.Context(), "app-1", plain("c", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if l.Stats().Retries == 0 {
		t.Error("nothing was tried again")
	}
	if r[0].Duplicate {
		t.Error("an event without an id is called a duplicate")
	}
	if known := l.recent.all()[place{"app-1", "c"}]; known != r[0].Offset {
		t.Errorf("what was acknowledged is remembered as %d, want %d", known, r[0].Offset)
	}
}

// TestQueuesAreBoundedInBytes: before, sixteen thousand messages of megabytes could be queued for a shard.
func TestQueuesAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	l := &Log{wake: follow.NewBell()}
	queue := follow.NewQueue[live](8, 1<<20)
	large := "2 1 1 1 - " + strings.Repeat("x", 1<<20*2/3)
	f := &follower{Follower: &follow.Follower[arrival]{}, log: l}
	f.take(queue, large)
	f.take(queue, large)
	if n, slow := queue.Len(), l.stats.Slow.Load(); n != 1 || slow != 1 || !f.Missed() {
		t.Errorf("%d messages wait and %d were too many, want one each, and that it is known", n, slow)
	}
}

// TestTaskIsDoneOnce: a caller that failed to remove a task from a queue may try again. Before, its room was
// freed each time, and then more tasks were handed out than requested.
func TestTaskIsDoneOnce(t *testing.T) {
	t.Parallel()
	l := open(t, redisserver.Start(t).URL(), false)
	w := l.OpenWork()
	k := &taking{work: w, keys: w.keys("q"), finished: make(chan struct{}, 1)}
	task := k.taken(rueidis.XRangeEntry{ID: "1-0", FieldValues: map[string]string{"b": "body"}})
	for range 2 {
		if err := task.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if k.under != 0 || k.bytes != 0 {
		t.Errorf("%d tasks of %d bytes are under way, want none", k.under, k.bytes)
	}
}

// TestKeysOfWorkAreNoChannel: before, channels of an app with the id work had the keys of the queues.
func TestKeysOfWorkAreNoChannel(t *testing.T) {
	t.Parallel()
	l := &Log{keys: keys{prefix: "p:"}, opt: Options{Prefix: "p:"}}
	if k := l.OpenWork().keys("q"); k.stream == l.keys.channel("work", "q").stream {
		t.Errorf("the queue and the channel are both %s", k.stream)
	}
}

// TestDeadMasterHoldsUpNobody: after a feed broke, all channels are compared with the log, a few at a time.
// Before, those of a dead master took five seconds each, and the others waited for them.
func TestDeadMasterHoldsUpNobody(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t, "--cluster-require-full-coverage", "no")
	l := open(t, cluster.URL(), true, silent)
	for i := range 400 {
		attachTo(t, l, channelAt(l, cluster, 0, fmt.Sprintf("c%d-", i)))
	}
	alive := channelAt(l, cluster, 1, "alive")
	w := attachTo(t, l, alive)
	cluster.Masters[0].Kill()
	until(t, "the comparison has begun", func() bool { return l.Stats().Scans > 0 || !l.Health().Ready })
	before := l.Stats().Scans
	cluster.Masters[1].Do("CLIENT KILL TYPE pubsub")
	publishOne(t, l, alive, "x")
	until(t, "the event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	until(t, "all is compared again and again", func() bool { return l.Stats().Scans > before+1 })
}

// TestIDsOutliveRetries: a publish may be retried for longer than ids are remembered. Before, an attempt
// whose answer was lost could be followed by one that stores the event again.
func TestIDsOutliveRetries(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, func(o *Options) { o.DedupWindow, o.PublishTimeout = time.Second, time.Minute })
	if _, err := l.Publish(t.Context(), "app-1", plain("c", "own id")); err != nil {
		t.Fatal(err)
	}
	chosen := plain("c", "chosen id")
	chosen.Event.DedupID = "id"
	if _, err := l.Publish(t.Context(), "app-1", chosen); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{l.keys.channel("app-1", "c").dedup + "*", l.keys.dedup("app-1") + digest("id")} {
		found, err := l.read.Do(t.Context(), l.read.B().Keys().Pattern(pattern).Build()).AsStrSlice()
		if err != nil || len(found) != 1 {
			t.Fatalf("keys like %s: %q, %v", pattern, found, err)
		}
		left, err := l.read.Do(t.Context(), l.read.B().Pttl().Key(found[0]).Build()).AsInt64()
		if err != nil || left < time.Minute.Milliseconds() {
			t.Errorf("%s is remembered for %d ms, %v, want as long as a publish may try", found[0], left, err)
		}
	}
}

// TestSlowFeedComparesWhatItMissed: before, each message for which the feed had no room made all channels be
// compared with the log, which adds work to an overloaded gateway.
func TestSlowFeedComparesWhatItMissed(t *testing.T) {
	t.Parallel()
	l := open(t, redisserver.Start(t).URL(), false, silent)
	for _, c := range []string{"slow", "other"} {
		attachTo(t, l, c)
	}
	var slow, other *follower
	for _, f := range l.follow.Of("app-1") {
		if f.Channel == "slow" {
			slow = f.Line().(*follower)
		} else {
			other = f.Line().(*follower)
		}
	}
	full := follow.NewQueue[live](1, 0)
	slow.take(full, "2 1 1 1 - x")
	until(t, "the channel is compared", func() bool { return slow.Audited() > 0 })
	scans := l.Stats().Scans
	slow.take(full, "2 1 1 1 - x")
	until(t, "it is compared again", func() bool { return l.Stats().Scans > scans })
	if other.Audited() > 0 {
		t.Error("a channel that missed nothing was compared")
	}
}
