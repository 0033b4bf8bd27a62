package herald

import (
	"context"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
)

// slowWatcher blocks until its bulletin is received.
type slowWatcher struct{ got chan *Bulletin }

func (s slowWatcher) Watched(b *Bulletin) { s.got <- b }

// TestWatchersOfOneUserDelayNobodyElse: many clients watch a user. While they are told, others can begin to
// watch, all get the same bulletin, and a new watcher is told the present state.
func TestWatchersOfOneUserDelayNobodyElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	roster, err := presence.New(ctx, presence.Options{Table: kv.NewMemoryTable(nil), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	defer roster.Close(ctx)
	lists := NewWatchlists(roster, func(app string, err error) { t.Errorf("following a user of %s: %v", app, err) })
	open := func(user string) *User {
		u, err := lists.Open(ctx, "shop", user)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	hears := func(w slowWatcher) *Bulletin {
		select {
		case b := <-w.got:
			return b
		case <-ctx.Done():
			t.Fatal("a watcher is not told")
			return nil
		}
	}
	ann := open("ann")
	watchers := []slowWatcher{{make(chan *Bulletin)}, {make(chan *Bulletin)}}
	for _, w := range watchers {
		go lists.Begin([]*User{ann}, w)
		hears(w)
	}
	roster.SetCount("shop", pusher.UserChannel("ann"), 1)
	var first *Bulletin
	select { // the watchers have no order
	case first = <-watchers[0].got:
		watchers = watchers[1:]
	case first = <-watchers[1].got:
		watchers = watchers[:1]
	case <-ctx.Done():
		t.Fatal("no watcher is told")
	}
	// The other watcher is being told now.
	late := listener{make(chan string, 16)}
	both := []*User{open("ann"), open("ben")}
	lists.Begin(both, late)
	late.wants(t, `[["ann"],["ben"]]`)
	if hears(watchers[0]) != first || len(first.Online) != 1 || first.Online[0] != "ann" {
		t.Errorf("the watchers are told by different bulletins, one of them %+v", first)
	}
	roster.SetCount("shop", pusher.UserChannel("ben"), 1)
	late.wants(t, `[["ben"],null]`)
	for _, u := range append(both, ann) {
		lists.End(u, late)
	}
}

// TestAUserThatAnotherCouldNotOpen: whoever waited for the caller that opened a user failed with it, although only
// that caller's time had run out.
func TestAUserThatAnotherCouldNotOpen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	roster, err := presence.New(ctx, presence.Options{Table: kv.NewMemoryTable(nil), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	defer roster.Close(ctx)
	lists := NewWatchlists(roster, func(app string, err error) { t.Errorf("following a user of %s: %v", app, err) })
	first, mine := lists.use(userKey{"shop", "ann"})
	if !mine {
		t.Fatal("somebody else opens the user")
	}
	opened := make(chan *User)
	go func() {
		u, err := lists.Open(ctx, "shop", "ann")
		if err != nil {
			t.Errorf("the second caller: %v", err)
		}
		opened <- u
	}()
	waits := func() bool {
		lists.mu.Lock()
		defer lists.mu.Unlock()
		return first.refs == 2
	}
	for tick := time.NewTicker(time.Millisecond); !waits(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the second caller does not wait")
		}
	}
	lists.forget(first)
	close(first.opened)
	lists.End(first, nil)
	if u := <-opened; u != nil {
		lists.End(u, nil)
	}
	if len(lists.users) != 0 {
		t.Errorf("%d users are left", len(lists.users))
	}
}
