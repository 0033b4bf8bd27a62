package fanout

import (
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// TestFiltersAreShared: subscriptions with equal filters share one, however often they come and go.
func TestFiltersAreShared(t *testing.T) {
	s := newStage(false, 64, 1, 100)
	list := &s.channels[0].Shards[0]
	filter, err := pusher.ParseFilter(`{"events":["x"]}`)
	if err != nil {
		t.Fatal(err)
	}
	shared := func() (n, users int) {
		for _, f := range list.filters.list {
			if f.users > 0 {
				n++
				users += f.users
			}
		}
		return n, users
	}
	var socks []*socket.Socket
	for range 4 {
		socks = append(socks, s.shard.Open(nil, s.kind))
		for range 2 { // again
			list.Put(&Entry{Sock: socks[len(socks)-1], Filter: filter, Greet: func(Start) {}})
		}
	}
	if n, users := shared(); n != 1 || users != 4 {
		t.Errorf("%d filters with %d users, want one and 4", n, users)
	}
	for _, sock := range socks[1:] {
		list.Drop(sock.Outbox())
	}
	if n, users := shared(); n != 1 || users != 1 {
		t.Errorf("%d filters with %d users, want one", n, users)
	}
	list.Drop(socks[0].Outbox())
	if n, _ := shared(); n != 0 {
		t.Errorf("%d filters of nobody", n)
	}
}
