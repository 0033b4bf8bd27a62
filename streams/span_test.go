package streams

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// scattered returns a log in which a channel has messages among those of another one, in groups and alone.
func scattered(t *testing.T, rnd *rand.Rand, messages int) (l *Log, mine []uint64, reads func() int) {
	t.Helper()
	s := node(t, t.TempDir())
	opt := options(s)
	opt.Apps = []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxMessages: 100_000, MaxBytes: -1}}
	l = open(t, opt)
	for dense := true; len(mine) < messages; dense = !dense {
		for range 1 + rnd.IntN(messages) {
			name := "others"
			if rnd.IntN(10) == 0 != dense {
				name = "mine"
			}
			got, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: name, Event: &broker.Event{Name: "e", Data: []byte("x")}})
			if err != nil {
				t.Fatal(err)
			}
			if name == "mine" {
				mine = append(mine, got[0].Offset)
			}
		}
	}
	conn, err := nats.Connect("", s.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	sub, err := conn.SubscribeSync("$JS.API.DIRECT.GET.CH_a")
	if err != nil {
		t.Fatal(err)
	}
	// The server has got each request that it answered, and delivers it here before it answers the flush.
	seen := 0
	reads = func() int {
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		for n, _, _ := sub.Pending(); n > 0; n-- {
			m, err := sub.NextMsg(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if !ofOverlooked(m) {
				seen++
			}
		}
		return seen
	}
	reads()
	return l, mine, reads
}

func offsetsOf(page *broker.Page) (all []uint64) {
	for _, p := range page.Publications {
		all = append(all, p.Offset)
	}
	return all
}

// TestTime05PagesInBothDirections compares pages between any two bounds with the published events, wherever
// the messages of the channel lie among those of another one.
func TestTime05PagesInBothDirections(t *testing.T) {
	const seed = 5
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Log("seed ", seed)
	l, mine, _ := scattered(t, rnd, 400)
	for range 300 {
		q := broker.Query{NewestFirst: rnd.IntN(2) == 0, Limit: []int{1, 2, 16, 100, 1000}[rnd.IntN(5)]}
		end := mine[len(mine)-1] + 3
		if rnd.IntN(2) == 0 {
			q.To = 1 + rnd.Uint64N(end)
		}
		if rnd.IntN(2) == 0 {
			q.From = 1 + rnd.Uint64N(min(end, max(q.To, 1)))
		}
		want := slices.DeleteFunc(slices.Clone(mine), func(o uint64) bool { return o < q.From || q.To > 0 && o > q.To })
		if q.NewestFirst {
			slices.Reverse(want)
		}
		more := len(want) > q.Limit
		want = want[:min(len(want), q.Limit)]
		page, err := l.Read(t.Context(), "a", "mine", q)
		if err != nil {
			t.Fatal(err)
		}
		if got := offsetsOf(page); !slices.Equal(got, want) || page.More != more {
			t.Fatalf("%+v: %v (more: %t), want %v (%t)", q, got, page.More, want, more)
		}
	}
}

// TestTime04FewReadingsForAPage: an attachment knows where its channel ends, and reads the events before that
// in one read, or nearly so where they are unevenly spread.
func TestTime04FewReadingsForAPage(t *testing.T) {
	const seed = 4
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Log("seed ", seed)
	l, mine, reads := scattered(t, rnd, 200)
	for _, limit := range []int{1, 16, 100} {
		for range 20 {
			n := rnd.IntN(len(mine))
			want := slices.Clone(mine[max(0, n+1-limit) : n+1])
			slices.Reverse(want)
			page, err := l.Read(t.Context(), "a", "mine", broker.Query{NewestFirst: true, To: mine[n], Limit: limit, Bare: true})
			if err != nil || !slices.Equal(offsetsOf(page), want) {
				t.Fatalf("%d up to %d: %v %v, want %v", limit, mine[n], offsetsOf(page), err, want)
			}
		}
	}
	now, err := l.Retained(t.Context(), "a", "mine")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		read func() error
		most int
	}{
		{"a bare page", func() error {
			_, err := l.Read(t.Context(), "a", "mine", broker.Query{NewestFirst: true, To: mine[len(mine)-1], Limit: 16, Bare: true})
			return err
		}, 3},
		{"the newest page", func() error {
			_, err := l.Read(t.Context(), "a", "others", broker.Query{NewestFirst: true, Limit: 10})
			return err
		}, 5},
		{"the oldest page", func() error {
			_, err := l.Read(t.Context(), "a", "mine", broker.Query{Limit: 10})
			return err
		}, 3},
		{"a hundred after a position", func() error {
			_, err := l.After(t.Context(), "a", "mine", broker.Position{Epoch: now.Epoch, Offset: mine[20]}, 100)
			return err
		}, 3},
		{"the oldest hundred", func() error {
			_, err := l.Read(t.Context(), "a", "mine", broker.Query{Limit: 100})
			return err
		}, 3},
	} {
		before := reads()
		if err := c.read(); err != nil {
			t.Fatal(err)
		}
		if got := reads() - before; got > c.most {
			t.Errorf("%s took %d readings of the log, want %d at most", c.what, got, c.most)
		}
	}
	// Messages that were removed meanwhile cost further reads.
	if _, err := l.Purge(t.Context(), "a", "mine", mine[len(mine)-1]+1); err != nil {
		t.Fatal(err)
	}
	page, err := l.Read(t.Context(), "a", "mine", broker.Query{NewestFirst: true, To: mine[len(mine)-1], Limit: 16, Bare: true})
	if err != nil || len(page.Publications) > 0 {
		t.Error(fmt.Sprint("of what was removed: ", offsetsOf(page)), err)
	}
}

// TestTime05PagesFitWhatLiesBetween: the closer the messages of a channel lie to each other, the more of them
// are read at once. The server skips the messages in between, and publishers wait meanwhile.
func TestTime05PagesFitWhatLiesBetween(t *testing.T) {
	for _, c := range []struct {
		known broker.Retained
		want  int
	}{
		{broker.Retained{}, pageSize},
		{broker.Retained{Oldest: 7, Newest: 7, Messages: 1}, widePage},
		{broker.Retained{Oldest: 1, Newest: 100_000, Messages: 100_000}, widePage},
		{broker.Retained{Oldest: 1, Newest: 100_000, Messages: 1000}, passed / 100},
		{broker.Retained{Oldest: 1, Newest: 100_000, Messages: 200}, pageSize},
		// Answers of several servers at different moments need not fit together.
		{broker.Retained{Oldest: 9, Newest: 8, Messages: 5}, pageSize},
		{broker.Retained{Oldest: 1, Newest: 8, Messages: 50}, widePage},
	} {
		if got := (span{page: pageSize}).spread(c.known).page; got != c.want {
			t.Errorf("%+v: pages of %d, want %d", c.known, got, c.want)
		}
	}
}
