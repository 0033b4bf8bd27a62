package presence

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// held is a table whose writes of seats wait until they are released.
type held struct {
	kv.Table

	mu sync.Mutex
	// open is closed while writes do not wait.
	open chan struct{}
	// waits receives the key of each write that waits.
	waits chan string
}

func newHeld(table kv.Table) *held {
	h := &held{Table: table, open: make(chan struct{}), waits: make(chan string, 1024)}
	h.letGo()
	return h
}

func (h *held) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = make(chan struct{})
}

func (h *held) letGo() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.open)
}

func (h *held) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	h.mu.Lock()
	open := h.open
	h.mu.Unlock()
	if strings.HasPrefix(key, "seat.") {
		select {
		case <-open:
		default:
			h.waits <- key
		}
		select {
		case <-open:
		case <-ctx.Done():
			return 0, kv.ErrUnavailable
		}
	}
	return h.Table.Put(ctx, key, value, ttl)
}

// census has a gateway that is asked, and another one whose seats are in the table.
type census struct {
	*testing.T
	asked, other *gatewayT
	table        *held
}

func newCensus(t *testing.T) *census {
	table := kv.NewMemoryTable(nil)
	c := &census{T: t, table: newHeld(table)}
	members := func(channel string) bool { return strings.HasPrefix(channel, "presence-") }
	c.asked = startWith(t, c.table, Options{Node: "asked", Lease: longLease, Members: members})
	c.other = startWith(t, table, Options{Node: "other", Lease: longLease, Members: members})
	return c
}

// written waits until the seats of both gateways are in the table and known.
func (c *census) written() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	c.asked.flush(ctx)
	c.other.flush(ctx)
	if ctx.Err() != nil {
		c.Fatal("what the gateways have is not written")
	}
}

// says checks the answers to every question about a channel.
func (c *census) says(channel string, want Totals, users ...string) {
	c.Helper()
	got, err := c.asked.Count(c.Context(), "app", channel)
	if err != nil || got != want {
		c.Errorf("%s has %+v (%v), want %+v", channel, got, err, want)
	}
	all, err := c.asked.Channels(c.Context(), "app", channel, nil)
	if listed, in := all[channel]; err != nil || listed != want || in != (want.Subscriptions > 0) {
		c.Errorf("among all channels %s is %v (%v), want %+v", channel, all, err, want)
	}
	in, err := c.asked.Users(c.Context(), "app", channel)
	slices.Sort(in)
	if err != nil || !slices.Equal(in, users) {
		c.Errorf("in %s are %q (%v), want %q", channel, in, err, users)
	}
}

// TestEV19QueriesKnowWhatThisGatewayHas: the answer of a gateway includes what it has told its clients,
// although the table does not have it yet.
func TestEV19QueriesKnowWhatThisGatewayHas(t *testing.T) {
	const open, quiet = "presence-room", "quiet" // the gateway follows the first one
	for name, test := range map[string]func(c *census){
		"the first subscription": func(c *census) {
			c.table.hold()
			c.asked.SetCount("app", quiet, 1)
			c.says(quiet, Totals{Subscriptions: 1})
		},
		"one that is about to begin": func(c *census) {
			c.table.hold()
			c.asked.SetCounts("app", quiet, 0, 1)
			c.says(quiet, Totals{Subscriptions: 1})
			c.asked.SetCounts("app", quiet, 1, 0)
			c.says(quiet, Totals{Subscriptions: 1})
			c.asked.SetCounts("app", quiet, 1, 2)
			c.says(quiet, Totals{Subscriptions: 3})
			c.asked.SetCounts("app", quiet, 1, 0)
			c.says(quiet, Totals{Subscriptions: 1})
		},
		"one that does not begin after all": func(c *census) {
			c.asked.SetCounts("app", quiet, 0, 1)
			c.asked.SetCounts("app", quiet, 0, 0)
			c.says(quiet, Totals{})
			if s := c.asked.Stats(); s.Seats != 0 || s.Writes != 0 {
				c.Errorf("it was written: %+v", s)
			}
		},
		"beside those of others": func(c *census) {
			c.other.SetCount("app", quiet, 2)
			c.asked.SetCount("app", quiet, 3)
			c.written()
			c.table.hold()
			c.asked.SetCount("app", quiet, 5)
			c.says(quiet, Totals{Subscriptions: 7})
			c.asked.SetCount("app", quiet, 0)
			c.says(quiet, Totals{Subscriptions: 2})
		},
		"the last one has ended": func(c *census) {
			c.asked.SetCount("app", quiet, 1)
			c.written()
			c.table.hold()
			c.asked.SetCount("app", quiet, 0)
			c.says(quiet, Totals{})
		},
		"a member, whose subscription is not written": func(c *census) {
			c.asked.join(c.T, "u1")
			c.table.hold()
			c.asked.SetCount("app", open, 1)
			c.says(open, Totals{1, 1}, "u1")
		},
		"a member, whose subscription has not begun": func(c *census) {
			c.asked.join(c.T, "u1")
			c.says(open, Totals{1, 1}, "u1")
		},
		"a member with two subscriptions": func(c *census) {
			c.asked.join(c.T, "u1", "u1")
			c.table.hold()
			c.asked.SetCount("app", open, 2)
			c.asked.room.Leave("u1")
			c.says(open, Totals{2, 1}, "u1")
			c.asked.SetCount("app", open, 1)
			c.says(open, Totals{1, 1}, "u1")
		},
		"the last member has left": func(c *census) {
			c.asked.join(c.T, "u1")
			c.asked.SetCount("app", open, 1)
			c.written()
			c.table.hold()
			c.asked.SetCount("app", open, 0)
			c.asked.room.Leave("u1")
			c.says(open, Totals{})
		},
		"a member has left who is elsewhere as well": func(c *census) {
			c.asked.join(c.T, "u1", "u2")
			c.other.join(c.T, "u1", "u3")
			c.asked.SetCount("app", open, 2)
			c.other.SetCount("app", open, 2)
			c.written()
			agree(c.T, []string{"u1", "u2", "u3"}, c.asked, c.other)
			eventually(c.T, "the numbers are known", func() bool { n, _, _ := c.asked.room.Counts(); return n == 4 })
			c.table.hold()
			c.asked.SetCount("app", open, 0)
			c.asked.room.Leave("u1")
			c.asked.room.Leave("u2")
			c.says(open, Totals{2, 2}, "u1", "u3")
		},
		"a member who has come back": func(c *census) {
			c.asked.join(c.T, "u1")
			c.written()
			c.table.hold()
			c.asked.room.Leave("u1")
			c.says(open, Totals{})
			c.table.letGo()
			c.asked.join(c.T, "u1")
			c.says(open, Totals{1, 1}, "u1")
		},
		"the number of another gateway before its members": func(c *census) {
			c.other.SetCount("app", open, 1)
			c.written()
			c.says(open, Totals{})
			c.other.join(c.T, "u3")
			agree(c.T, []string{"u3"}, c.asked)
			c.says(open, Totals{1, 1}, "u3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCensus(t)
			test(c)
			select {
			case <-c.table.open:
			default:
				c.table.letGo()
			}
			c.written() // afterwards both agree, with the table as well
			all, err := c.other.Channels(t.Context(), "app", "", nil)
			here, err2 := c.asked.Channels(t.Context(), "app", "", nil)
			if err != nil || err2 != nil || !maps.Equal(all, here) {
				t.Errorf("in the end one has %v (%v), the other %v (%v)", all, err, here, err2)
			}
		})
	}
}

// TestWS06ToldWhenTheOthersCanKnow: Told returns when the number is in the table, or a later one replaces it,
// or its time is over.
func TestWS06ToldWhenTheOthersCanKnow(t *testing.T) {
	c := newCensus(t)
	told := func() chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.asked.Told("app", "")
		}()
		return done
	}
	c.asked.opt.ToldWithin = patience
	c.asked.Told("app", "") // there is nothing to tell
	for _, numbers := range [][]int{{1}, {2, 3}, {5, 4}, {6, 0}} {
		c.table.hold()
		c.asked.SetCount("app", "", numbers[0])
		<-c.table.waits
		done := told()
		last := numbers[len(numbers)-1]
		c.asked.SetCount("app", "", last)
		select {
		case <-done:
			if last > 0 {
				t.Fatalf("%v is told before it is written", numbers)
			}
		default:
		}
		c.table.letGo()
		<-done
		c.written()
	}
	c.table.hold()
	c.asked.SetCount("app", "", 1)
	c.asked.opt.ToldWithin = time.Millisecond
	c.asked.Told("app", "")
	c.table.letGo()
}
