package past

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestParkedPositionsAreBoundAndEnd(t *testing.T) {
	var p Parking
	now := time.Unix(1000, 0)
	put := func(channel string, serial uint64) {
		p.Put(pusher.ResumePosition{Channel: channel, Serial: serial}, "1.1", now, 2)
	}
	if _, _, ok := p.Take("a", now); ok || p.Has("a") || p.Len() != 0 {
		t.Error("an empty one has something")
	}
	put("a", 1)
	put("b", 2)
	put("c", 3)
	put("b", 4)
	if p.Len() != 2 || p.Has("c") {
		t.Errorf("%d are kept, of two at most", p.Len())
	}
	if at, was, ok := p.Take("b", now.Add(parkTime)); !ok || at.Serial != 4 || was != "1.1" {
		t.Errorf("Take: %+v %q %v", at, was, ok)
	}
	if p.Has("b") {
		t.Error("a position that was taken is still there")
	}
	if _, _, ok := p.Take("a", now.Add(parkTime+1)); ok || p.Len() != 0 {
		t.Error("a position outlives its time")
	}
	put("a", 1)
	now = now.Add(parkTime + 1)
	put("d", 5)
	put("e", 6)
	if p.Has("a") || p.Len() != 2 {
		t.Error("a position that is too late takes the place of another")
	}
}
