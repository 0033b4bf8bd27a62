package fanout

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// TestRooms16WhatWaitsForAChannelIsBounded: early publications are bounded in number and in bytes, for the
// channel, for its app and for all.
func TestRooms16WhatWaitsForAChannelIsBounded(t *testing.T) {
	sized := func(offset uint64, bytes int) *broker.Publication {
		return &broker.Publication{Event: broker.Event{Data: make([]byte, bytes)}, Position: broker.Position{Epoch: "e", Offset: offset}}
	}
	fill := func(e *Early, bytes int) (n int) {
		for n < 2*earlyEvents && e.Add(sized(uint64(n+1), bytes)) {
			n++
		}
		return n
	}
	var room EarlyRoom
	small, large := room.Of("a"), room.Of("a")
	if n := fill(&small, 10); n != earlyEvents || small.Reached() != earlyEvents || small.Len() != earlyEvents {
		t.Errorf("%d small ones wait, want %d", n, earlyEvents)
	}
	if n, want := fill(&large, 100<<10), earlyBytes/(100<<10+earlyCost); n != want {
		t.Errorf("%d large ones wait, want %d", n, want)
	}
	held := room.Bytes()
	if held < earlyBytes/2 || held > 2*earlyBytes || room.Full() != 2 {
		t.Errorf("%d bytes wait, and %d channels had no room", held, room.Full())
	}
	for n, p := range small.Take() {
		if p.Offset != uint64(n+1) {
			t.Fatalf("publication %d is at %d", n, p.Offset)
		}
	}
	large.Take()
	if small.Len() > 0 || small.Reached() > 0 || small.Take() != nil || room.Bytes() != 0 {
		t.Errorf("%d bytes wait when all were taken", room.Bytes())
	}

	room.allows = 1 << 20
	mine, more, other := room.Of("a"), room.Of("a"), room.Of("b")
	if n := fill(&mine, 64<<10); n != 7 {
		t.Errorf("an app has %d of 64 KiB, want half of the room", n)
	}
	if fill(&more, 64<<10) != 0 {
		t.Error("another channel of it has room")
	}
	if n := fill(&other, 64<<10); n != 7 {
		t.Errorf("another app has %d, want the other half", n)
	}
	third := room.Of("c")
	if n := fill(&third, 64<<10); n > 1 {
		t.Errorf("a third app has %d, though there is no room", n)
	}
	for _, e := range []*Early{&mine, &more, &other, &third} {
		e.Take()
	}
	if room.Bytes() != 0 {
		t.Errorf("%d bytes wait when all were taken", room.Bytes())
	}
	if n := len(room.byApp); n != 0 {
		t.Errorf("%d apps are remembered of which nothing waits", n)
	}
}
