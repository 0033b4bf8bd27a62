package herald

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/kv"
)

// queue collects the webhooks of several gateways, each id once, as the queues of webhooks do.
type queue struct{ desk }

func (q *queue) Emit(_ *app.App, e webhook.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.ID == "" || !slices.ContainsFunc(q.got, func(had webhook.Event) bool { return had.ID == e.ID }) {
		q.got = append(q.got, e)
	}
}

// early returns the counts that were told of a channel before it was occupied or after it was vacated.
func (q *queue) early() (out []int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	occupied := false
	for _, e := range q.got {
		switch e.Name {
		case webhook.ChannelOccupied, webhook.ChannelVacated:
			occupied = e.Name == webhook.ChannelOccupied
		case webhook.SubscriptionCount:
			if !occupied {
				out = append(out, e.Count)
			}
		}
	}
	return out
}

func (q *queue) counts() (out []int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.got {
		if e.Name == webhook.SubscriptionCount {
			out = append(out, e.Count)
		}
	}
	return out
}

// crowded receives the counts that the subscribers of a channel are told.
type crowded struct{ numbers chan string }

func (c crowded) Announce(_ uint64, news []News) {
	for _, n := range news {
		c.numbers <- string(n.Data)
	}
}

// house has a few gateways with one channel.
type house struct {
	rolls []*Roll
	heard []crowded
	told  *queue
}

func openHouse(ctx context.Context, t *testing.T, gateways int) *house {
	t.Helper()
	h, table := &house{told: &queue{}}, kv.NewMemoryTable(nil)
	now := time.Unix(1000, 0)
	for i := range gateways {
		a := &app.App{ID: "shop", SubscriptionCount: true}
		node := "n" + strconv.Itoa(i)
		told := New(Options{Apps: app.NewRegistry(a), Hooks: h.told, Node: node, Now: func() time.Time { return now }})
		roster, err := presence.New(ctx, presence.Options{Table: table, Node: node, Tell: told.Tell})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			roster.Close(ctx)
		})
		heard := crowded{make(chan string, 64)}
		roll := told.Roll(roster, a, "room", heard)
		if err := roll.Open(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(roll.Close)
		h.rolls, h.heard = append(h.rolls, roll), append(h.heard, heard)
	}
	return h
}

// TestWH06EveryNumberOfSubscriptionsIsTold: a gateway whose last subscriber leaves reports the count at once,
// like a gateway with subscribers left.
func TestWH06EveryNumberOfSubscriptionsIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		// steps are the gateways, from 1 on, that get (+) or lose (-) a subscriber.
		steps []int
		want  []int
	}{
		{"one comes and goes", []int{1, -1}, []int{1, 0}},
		{"the last of two goes", []int{1, 1, -1, -1}, []int{1, 2, 1, 0}},
		{"it is full again", []int{1, -1, 1, -1}, []int{1, 0, 1, 0}},
		{"the first gateway goes first", []int{1, 2, -1}, []int{1, 2, 1}},
		{"both go", []int{1, 2, -1, -2}, []int{1, 2, 1, 0}},
		{"the number is that of when it came", []int{1, 1, 2, 2, -1, 2, -1, -2}, []int{1, 2, 3, 4, 3, 4, 3, 2}},
		{"in turns", []int{1, 2, 3, -2, 2, -1, -3, -2}, []int{1, 2, 3, 2, 3, 2, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			h := openHouse(ctx, t, 3)
			for i, step := range c.steps {
				h.rolls[max(step, -step)-1].Count(step / max(step, -step))
				want := string(numberOf(c.want[i]).Data)
				for n, heard := range h.heard {
					select {
					case got := <-heard.numbers:
						if got != want {
							t.Fatalf("step %d: the subscribers of %d hear %s, want %s", i, n, got, want)
						}
					case <-ctx.Done():
						t.Fatalf("step %d: the subscribers of %d do not hear %s", i, n, want)
					}
				}
			}
			// A count is told to the application before it is told to the subscribers.
			if diff := cmp.Diff(c.want, h.told.counts()); diff != "" {
				t.Errorf("the application is told (-want +got):\n%s", diff)
			}
			if early := h.told.early(); len(early) > 0 {
				t.Errorf("%v were told of a channel that nobody was said to be in", early)
			}
		})
	}
}
