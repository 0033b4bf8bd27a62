package presence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/kv"
)

// heldTable delays the listing of seats of an app until it is released.
type heldTable struct {
	kv.Table
	may chan struct{}

	mu sync.Mutex
	// asked counts the lists by app, and most is the largest number at a time.
	asked, now, most map[string]int
}

func newHeldTable() *heldTable {
	return &heldTable{Table: kv.NewMemoryTable(nil), may: make(chan struct{}, 1000), asked: map[string]int{}, now: map[string]int{}, most: map[string]int{}}
}

func (h *heldTable) Walk(ctx context.Context, pattern string, piece func([]kv.Record)) error {
	app := strings.Split(pattern+"..", ".")[1]
	if app != "app" && app != "other" {
		return h.Table.Walk(ctx, pattern, piece)
	}
	h.note(app, 1)
	defer h.note(app, -1)
	select {
	case <-h.may:
		return h.Table.Walk(ctx, pattern, piece)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *heldTable) note(app string, change int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked[app] += max(change, 0)
	h.now[app] += change
	h.most[app] = max(h.most[app], h.now[app])
}

func (h *heldTable) of(app string) (asked, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[app], h.most[app]
}

// TestTrust01QuestionsOfOneAppShareTheTable: questions about channels that this gateway does not follow share
// their lists of the table. Before, each made its own list, so that one app kept all others from the table.
func TestTrust01QuestionsOfOneAppShareTheTable(t *testing.T) {
	const many = 60
	for name, c := range map[string]struct {
		ask func(r *Roster, i int) error
		// asked and most bound the lists of the table, in all and at a time.
		asked, most int
	}{
		"how many are in one channel": {func(r *Roster, _ int) error {
			n, err := r.Count(t.Context(), "app", "c")
			if err == nil && n.Subscriptions != 3 {
				err = fmt.Errorf("there are %d subscriptions", n.Subscriptions)
			}
			return err
		}, 2, 1},
		"who is in one channel": {func(r *Roster, _ int) error {
			users, err := r.Users(t.Context(), "app", "presence-hall")
			if err == nil && len(users) != 0 {
				err = fmt.Errorf("there is %v", users)
			}
			return err
		}, 2, 1},
		"how many are in many channels": {func(r *Roster, i int) error {
			_, err := r.Count(t.Context(), "app", fmt.Sprint("c-", i))
			return err
		}, many, surveyors / 2},
		"who is in many channels": {func(r *Roster, i int) error {
			_, err := r.Members(t.Context(), "app", fmt.Sprint("presence-", i))
			return err
		}, many, surveyors / 2},
		"which channels there are": {func(r *Roster, _ int) error {
			all, err := r.Channels(t.Context(), "app", "", nil)
			if err == nil && all["c"].Subscriptions != 3 {
				err = fmt.Errorf("there is %v", all)
			}
			return err
		}, many, surveyors / 2},
	} {
		t.Run(name, func(t *testing.T) {
			table := newHeldTable()
			there, g := start(t, table, "there"), start(t, table, "here")
			there.SetCount("app", "c", 3)
			eventually(t, "the seat is stored", func() bool { return there.Stats().Waiting == 0 })
			var asking sync.WaitGroup
			for i := range many {
				asking.Go(func() {
					if err := c.ask(g.Roster, i); err != nil {
						t.Error(err)
					}
				})
			}
			eventually(t, "the table is asked as often as it may be at a time", func() bool { _, most := table.of("app"); return most == c.most })
			// Another app has its share.
			asking.Go(func() {
				if _, err := g.Count(t.Context(), "other", "c"); err != nil {
					t.Error(err)
				}
			})
			eventually(t, "another app has its turn", func() bool { asked, _ := table.of("other"); return asked == 1 })
			for range many + 1 {
				table.may <- struct{}{}
			}
			asking.Wait()
			if asked, most := table.of("app"); asked > c.asked || most > c.most {
				t.Errorf("the table was asked %d times, up to %d at a time, want %d and %d at most", asked, most, c.asked, c.most)
			}
		})
	}
}

// TestTrust01AListNeedsRoom: the caller is asked for room for each piece of a list.
func TestTrust01AListNeedsRoom(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	g := start(t, table, "one")
	const channels = 20
	for i := range channels {
		g.SetCount("app", fmt.Sprint("c-", i), 1)
	}
	eventually(t, "the seats are stored", func() bool { return g.Stats().Waiting == 0 })
	total := 0
	all, err := g.Channels(t.Context(), "app", "", func(n int) error { total += n; return nil })
	if err != nil || len(all) != channels || total < channels*recordBytes {
		t.Errorf("%d channels with room for %d bytes: %v", len(all), total, err)
	}
	full := errors.New("there is no room")
	if _, err := g.Channels(t.Context(), "app", "", func(int) error { return full }); !errors.Is(err, full) {
		t.Errorf("without room: %v", err)
	}
}
