package past

import (
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// parkTime is how long a position waits for the subscription of its channel (protocol section 5.3).
const parkTime = time.Minute

// Parking has the positions of a connection whose channels are not subscribed to yet. The zero value is
// empty. Not safe for concurrent use.
type Parking struct {
	of map[string]parked
	// due is at or before the first expiry of a position, so that Put need not look at all positions each
	// time.
	due time.Time
}

type parked struct {
	at pusher.ResumePosition
	// was is the former socket that the request named. A later request does not change it.
	was   string
	until time.Time
}

// Put keeps a position for a minute from now. It reports false if there are most positions already.
func (p *Parking) Put(at pusher.ResumePosition, was string, now time.Time, most int) bool {
	if p.of == nil {
		p.of = map[string]parked{}
	}
	if now.After(p.due) {
		p.sweep(now)
	}
	if !p.Has(at.Channel) && len(p.of) >= most {
		return false
	}
	p.of[at.Channel] = parked{at, was, now.Add(parkTime)}
	return true
}

// sweep removes expired positions.
func (p *Parking) sweep(now time.Time) {
	p.due = now.Add(parkTime)
	for channel, old := range p.of {
		switch {
		case now.After(old.until):
			delete(p.of, channel)
		case old.until.Before(p.due):
			p.due = old.until
		}
	}
}

// Has reports whether there is a position of the channel, expired or not.
func (p *Parking) Has(channel string) bool {
	_, ok := p.of[channel]
	return ok
}

// Len returns the number of positions.
func (p *Parking) Len() int { return len(p.of) }

// Take removes and returns the position of a channel. ok is false if there is none or it has expired.
func (p *Parking) Take(channel string, now time.Time) (at pusher.ResumePosition, was string, ok bool) {
	kept, ok := p.of[channel]
	delete(p.of, channel)
	return kept.at, kept.was, ok && !now.After(kept.until)
}
