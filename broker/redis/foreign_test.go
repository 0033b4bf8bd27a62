package redis

import (
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestAppsCalledLikeSomethingElse: an app called cluster has its keys beside the table of cluster state, an
// app called work its channels beside the queues. Before, removing such an app removed these as well, and the
// listing of its channels contained names of queues.
func TestAppsCalledLikeSomethingElse(t *testing.T) {
	t.Parallel()
	for _, cluster := range []bool{false, true} {
		url := ""
		if cluster {
			url = redisserver.StartCluster(t).URL()
		} else {
			url = redisserver.Start(t).URL()
		}
		apps := []string{"cluster", "work", "work:", "cluster}", "shop"}
		l := open(t, url, cluster, func(o *Options) {
			for _, id := range apps {
				o.Apps = append(o.Apps, AppOptions{ID: id, MaxMessages: 100})
			}
		})
		table, err := l.OpenTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.Put(t.Context(), "lease.node", []byte("alive"), time.Hour); err != nil {
			t.Fatal(err)
		}
		work := l.OpenWork()
		if _, err := work.Put(t.Context(), "q", broker.Task{ID: "t", Body: []byte("b")}); err != nil {
			t.Fatal(err)
		}
		queue := work.keys("q")
		for _, id := range apps {
			for _, channel := range []string{"c", ":q", "r"} {
				mustPublish(t, l, id, plain(channel, "x"))
			}
		}
		for _, id := range apps {
			names, err := l.Channels(t.Context(), id, "")
			if want := []string{":q", "c", "r"}; err != nil || !slices.Equal(names, want) {
				t.Errorf("cluster %v: channels of %s: got %q, %v, want %q", cluster, id, names, err, want)
			}
			before, err := l.Measure(t.Context(), id)
			if err != nil || before < 7 { // an epoch, streams and hashes
				t.Errorf("cluster %v: %s has %d keys, %v", cluster, id, before, err)
			}
			if err := l.RemoveApp(t.Context(), id); err != nil {
				t.Errorf("cluster %v: removing %s: %v", cluster, id, err)
			}
			if _, err := table.Read(t.Context(), "lease.node"); err != nil {
				t.Errorf("cluster %v: %s removed, and a record of the table with it: %v", cluster, id, err)
			}
			n, err := l.read.Do(t.Context(), l.read.B().Xlen().Key(queue.stream).Build()).AsInt64()
			if err != nil || n != 1 {
				t.Errorf("cluster %v: %s removed, and %d tasks of a queue are left, %v", cluster, id, n, err)
			}
			if names, err := l.Channels(t.Context(), id, ""); err != nil || len(names) > 0 {
				t.Errorf("cluster %v: %s removed, and it has %q, %v", cluster, id, names, err)
			}
		}
	}
}

// TestPurgedChannelIsNotListed: before, a channel that was purged as a whole left an empty stream and was
// listed as one with events.
func TestPurgedChannelIsNotListed(t *testing.T) {
	t.Parallel()
	for _, through := range []string{"all", "the newest"} {
		l := open(t, redisserver.Start(t).URL(), false)
		w := attachTo(t, l, "c")
		first := publishOne(t, l, "c", "x")
		before := uint64(0)
		if through == "the newest" {
			before = first + 1
		}
		if _, err := l.Purge(t.Context(), "app-1", "c", before); err != nil {
			t.Fatal(err)
		}
		if names, err := l.Channels(t.Context(), "app-1", ""); err != nil || len(names) > 0 {
			t.Errorf("%s purged: channels %q, %v, want none", through, names, err)
		}
		if next := publishOne(t, l, "c", "y"); next != first+1 {
			t.Errorf("%s purged: the next event is %d, want %d", through, next, first+1)
		}
		until(t, "both are delivered", func() bool { p, _ := w.seen(); return len(p) == 2 })
		if _, gaps := w.seen(); len(gaps) > 0 {
			t.Errorf("%s purged: gaps %+v", through, gaps)
		}
		names, err := l.Channels(t.Context(), "app-1", "")
		if err != nil || !slices.Equal(names, []string{"c"}) {
			t.Errorf("%s purged, and published to: channels %q, %v", through, names, err)
		}
	}
}
