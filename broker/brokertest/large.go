package brokertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// largeEvent returns the data of event i, of a size in bytes.
func largeEvent(i, size int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("x", size)) }

// LargePages stores events of a size in bytes, together three times as large as a page may be, and reads them
// in every direction. The log must accept events of that size.
func LargePages(t *testing.T, log broker.Log, app string, size int) {
	t.Helper()
	n := 3 * broker.PageBytes / size
	var first broker.Position
	for i := range n {
		at := publish(t, log, app, "large", largeEvent(i, size))[0]
		if i == 0 {
			first = at
		}
		if i == n-1 {
			settle(t, log, app, "large", at)
		}
	}
	WalkLarge(t, log, app, "large", n, false)
	WalkLarge(t, log, app, "large", n, true)
	for pos, seen := first, 1; seen < n; {
		page := after(t, log, app, "large", pos, 1000)
		seen += checkLarge(t, page, seen, 1)
		if len(page.Publications) == 0 || page.More != (seen < n) {
			t.Fatalf("after %d of %d: %d publications, more %t", seen, n, len(page.Publications), page.More)
		}
		pos = page.Publications[len(page.Publications)-1].Position
	}
}

// WalkLarge reads a channel page by page, in which the data of each of n events begins with its number and a
// space. It checks that each event comes once and in order, in pages that are not much larger than the limit.
// Safe in any goroutine.
func WalkLarge(t *testing.T, log broker.History, app, channel string, n int, newestFirst bool) {
	q := broker.Query{Limit: 1000, NewestFirst: newestFirst}
	for seen := 0; seen < n; {
		page, err := log.Read(t.Context(), app, channel, q)
		if err != nil {
			t.Errorf("newest first %t: %v", newestFirst, err)
			return
		}
		from, step := seen, 1
		if newestFirst {
			from, step = n-1-seen, -1
		}
		seen += checkLarge(t, page, from, step)
		if len(page.Publications) == 0 || page.More != (seen < n) {
			t.Errorf("newest first %t, after %d of %d: %d publications, more %t", newestFirst, seen, n, len(page.Publications), page.More)
			return
		}
		last := page.Publications[len(page.Publications)-1].Offset
		if newestFirst {
			q.To = last - 1
		} else {
			q.From = last + 1
		}
	}
}

// checkLarge returns how many publications a page has, after checking its size.
func checkLarge(t *testing.T, page *broker.Page, from, step int) int {
	bytes := 0
	for i, p := range page.Publications {
		bytes += len(p.Data)
		if want := fmt.Sprint(from+i*step, " "); !strings.HasPrefix(string(p.Data), want) {
			t.Errorf("%.10q is in the place of event %s", p.Data, want)
		}
	}
	if bytes > broker.PageBytes+4<<20 {
		t.Errorf("a page has %d bytes", bytes)
	}
	return len(page.Publications)
}
