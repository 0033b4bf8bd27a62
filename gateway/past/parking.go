package past

import (
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// parkTime is how long a position waits for the subscription of its channel (protocol
// section 5.3).
const parkTime = time.Minute

// Parking has positions of a connection whose channels are not subscribed to yet. The zero
// value is empty. It is for one goroutine.
type Parking struct {
	of map[string]parked
	// due is not later than the first end of one of them, so that putting one does not look at
	// all others each time.
	due time.Time
}

type parked struct {
	at pusher.ResumePosition
	// was is the socket that the request named, which a later one does not change.
	was   string
	until time.Time
}

// Put keeps a position for a minute from now. It is false if there are most already.
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

// sweep removes what is too late.
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

// Has tells whether a position of the channel is there, in time or not.
func (p *Parking) Has(channel string) bool {
	_, ok := p.of[channel]
	return ok
}

// Len is the number of positions.
func (p *Parking) Len() int { return len(p.of) }

// Take removes the position of a channel. ok is false if there is none, or it is too late.
func (p *Parking) Take(channel string, now time.Time) (at pusher.ResumePosition, was string, ok bool) {
	kept, ok := p.of[channel]
	delete(p.of, channel)
	return kept.at, kept.was, ok && !now.After(kept.until)
}
