package past

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestParkedPositionsAreBoundAndEnd(t *testing.T) {
	var p Parking
	now := time.Unix(1000, 0)
	put := func(channel string, serial uint64) bool {
		return p.Put(pusher.ResumePosition{Channel: channel, Serial: serial}, "1.1", now, 2)
	}
	if _, _, ok := p.Take("a", now); ok || p.Has("a") || p.Len() != 0 {
		t.Error("an empty one has something")
	}
	if !put("a", 1) || !put("b", 2) || put("c", 3) || !put("b", 4) {
		t.Error("a third one has a place, or one of two has none")
	}
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
	if !put("d", 5) || !put("e", 6) || p.Has("a") || p.Len() != 2 {
		t.Error("a position that is too late takes the place of another")
	}
}

// TestParkedPositionsEndOneByOne: each position is kept for a minute and no longer, however positions come
// and end.
func TestParkedPositionsEndOneByOne(t *testing.T) {
	var p Parking
	start := time.Unix(1000, 0)
	const most = 30
	for second := range 300 {
		now := start.Add(time.Duration(second) * time.Second)
		// The first 30 have all places for a minute, then the next 30.
		if kept := p.Put(pusher.ResumePosition{Channel: time.Duration(second).String()}, "", now, most); kept != (second%61 < most) {
			t.Fatalf("second %d: kept %v with %d", second, kept, p.Len())
		}
	}
}
