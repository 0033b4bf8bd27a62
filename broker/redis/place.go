package redis

import (
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Subscribing to a channel to which nothing was ever published takes no room in Redis, because anyone with
// the key of an app may subscribe to any name. Such a subscriber has a place that is not stored, below the
// offset of any first event, until the channel was followed for a while. The first event shows by itself that
// it is the first.

const (
	// voidSlack is how far behind the server's clock such a place lies. A first event takes its offset from
	// that clock, which may be set back, or belong to another server by then. Places of expired events lie at
	// least an hour behind the clock, see [placeLife].
	voidSlack = 10 * time.Minute
	// voidPatience is how long such a channel is followed before its place is stored. voidLife is how long
	// the stored place lives after it was last touched.
	voidPatience = 15 * time.Minute
	voidLife     = time.Hour
	// The numbers of such places, stored or not, are multiples of voidGrain, which distinguishes them from
	// other places.
	voidGrain = 1 << 20 // about a second
)

// probeArgs returns the arguments with which the touch script is tried on a key.
func (l *Log) probeArgs(key string) []string {
	return []string{"1000", "1000", "1", l.announce(), key + l.keys.heard}
}

// ground is the state of a channel in the log.
type ground struct {
	// exists is false if the log has no place for the channel.
	exists bool
	// last is the channel's newest offset, base the one before its first, and messages the number retained.
	last, base, messages uint64
	// void is the place below any first event, for a channel without a place.
	void uint64
}

// at returns the place of a subscriber that begins now.
func (g *ground) at() uint64 {
	if !g.exists {
		return g.void
	}
	return g.last
}

// isVoid reports whether nothing was ever published to the channel, as far as the log knows.
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

// before reports whether a place lies before the first event of its channel: it is 0, or a place of a
// channel without events. first is where the channel began since, or the present time if it did not. Events
// in between may have expired, but not within life, which is how long their place lives.
func before(place, first uint64, life time.Duration) bool {
	return place == 0 || place%voidGrain == 0 && place < first && first-place < uint64((life-2*voidSlack).Microseconds())
}
