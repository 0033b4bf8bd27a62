package redis

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestPagesOfARepairAreBoundedInBytes: before, a repair read 256 events at a time, however large: 256 MiB in
// one answer for events of 1 MiB, and an answer that took longer than one attempt never succeeded.
func TestPagesOfARepairAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	const size, all = 600 << 10, 12
	server := redisserver.Start(t)
	big := func(o *Options) { o.MaxData = 1 << 20 }
	l, other := open(t, server.URL(), false, silent, big), open(t, server.URL(), false, silent, big)
	w := attachTo(t, l, "c")
	k := l.keys.channel("app-1", "c")
	l.subs.mu.Lock()
	l.subs.all[k.live].receive = func(string) {} // so they are missed
	l.subs.mu.Unlock()
	for range all {
		publishOne(t, other, "c", strings.Repeat("x", size))
	}
	f := l.follow.Of("app-1")[0].Line().(*follower)
	for found, pages := follow.Progress, 0; found == follow.Progress; pages++ {
		before, _ := w.seen()
		take, err := f.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.Lock()
		found = take()
		f.Leave()
		after, _ := w.seen()
		// The event that reaches the bound is a part of the page.
		if n := (len(after) - len(before)) * size; n > repairBytes+size || pages > all {
			t.Fatalf("a page of %d bytes, page %d, want up to %d", n, pages, repairBytes)
		}
	}
	if pubs, gaps := w.seen(); len(pubs) != all || len(gaps) > 0 {
		t.Errorf("%d delivered, gaps %+v, want %d and none", len(pubs), gaps, all)
	}
	r, err := l.scan(t.Context(), k, scanQuery{from: 1, to: 1, most: 1})
	if err != nil || len(r.oldest.entry)+len(r.newest.entry) > 0 || r.oldest.offset == 0 || r.newest.offset == 0 {
		t.Errorf("the ends of a channel hold %d bytes, %v, want none", len(r.oldest.entry)+len(r.newest.entry), err)
	}
}
