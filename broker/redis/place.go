package redis

import (
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// A channel to which nothing was ever published takes no room in Redis because somebody follows it:
// whoever has the key of an app may subscribe to any name. Who follows it stands at a place that is written
// nowhere, below whatever will be the first event, until he has followed it for a while. The first event
// says itself that it is the first.

const (
	// voidSlack is how far behind the clock of the server such a place lies. A first event begins at that
	// clock, which may be set back, or be that of another server by then. Places of events that aged lie an
	// hour behind it at least, see [placeLife].
	voidSlack = 10 * time.Minute
	// voidPatience is how long somebody follows a channel of that kind before it gets a place, and voidLife
	// for how long it keeps it after the last look.
	voidPatience = 15 * time.Minute
	voidLife     = time.Hour
	// voidGrain is what the numbers of places of such channels are multiples of, written or not, by which
	// they are known among others.
	voidGrain = 1 << 20 // about a second
)

// probeArgs are the arguments of the touch script where it is tried out with a key.
func (l *Log) probeArgs(key string) []string {
	return []string{"1000", "1000", "1", l.announce(), key + l.keys.heard}
}

// ground is where a channel is in the log.
type ground struct {
	// exists is false when the log has no place for the channel.
	exists bool
	// last is its newest offset, base the one before its first, and messages what is kept.
	last, base, messages uint64
	// void is a place at which nothing of the channel is, if the log has none.
	void uint64
}

// at is the place of who begins to follow the channel.
func (g *ground) at() uint64 {
	if !g.exists {
		return g.void
	}
	return g.last
}

// isVoid says that nothing was ever published to the channel, as far as the log knows.
func (g *ground) isVoid() bool { return !g.exists || g.last == g.base }

// parseGround reads the answer of the touch script.
func parseGround(got []rueidis.RedisMessage) (g ground, err error) {
	if len(got) != 4 {
		return g, errNotOurs
	}
	last, err := got[0].ToString()
	if err != nil {
		return g, err
	}
	if g.exists = last != ""; g.exists {
		if g.last, err = strconv.ParseUint(last, 10, 64); err != nil {
			return g, errNotOurs
		}
		if g.base, err = got[1].AsUint64(); err != nil {
			return g, err
		}
	}
	if g.messages, err = got[2].AsUint64(); err != nil {
		return g, err
	}
	now, err := got[3].AsUint64()
	if err != nil {
		return g, err
	}
	g.void = (now - uint64(voidSlack.Microseconds())) / voidGrain * voidGrain
	return g, nil
}

// before tells that a place lies before the first event of its channel: it is none, or one where nothing
// was. first is where the channel began since, or the present time if it did not. A channel may have had
// events between the two that have aged, but not within life, which is how long their place is kept.
func before(place, first uint64, life time.Duration) bool {
	return place == 0 || place%voidGrain == 0 && place < first && first-place < uint64((life-2*voidSlack).Microseconds())
}
