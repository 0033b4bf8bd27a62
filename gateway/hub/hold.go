package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/past"
)

// hold has the way of a new subscription wait for a resume, if one is to be expected. said
// means that the client says so.
func (c *Client) hold(p *fanout.Way, said bool) bool {
	r, now := c.recovery, c.hub.opt.Now()
	if r == nil || r.asked || p.Line.Past == nil || !said && now.Sub(c.began) > past.HoldAge {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.Add(p, said, now); r.release == nil {
		r.release = time.AfterFunc(r.held.Wait(now), func() { c.hub.background(c.patient) })
	} else {
		r.release.Reset(r.held.Wait(now))
	}
	return true
}

// handling notes that a message of the client is being handled, or no longer.
func (c *Client) handling(busy bool) {
	if r := c.recovery; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held.Busy(busy) {
			r.release.Reset(r.held.Wait(c.hub.opt.Now()))
		}
	}
}

// unhold forgets those of a channel to which the client is not subscribed any more.
func (c *Client) unhold(ch *Channel) {
	if r := c.recovery; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held.Drop(ch.Line)
	}
}

// patient lets the subscriptions go on that waited for a resume which did not come in time.
func (c *Client) patient() {
	r := c.recovery
	r.mu.Lock()
	if wait := r.held.Late(c.hub.opt.Now()); wait > 0 {
		r.release.Reset(wait)
		r.mu.Unlock()
		return
	}
	held := r.held.Take()
	r.mu.Unlock()
	wake(held)
}

// letGo lets all subscriptions go on that are held.
func (c *Client) letGo() {
	r := c.recovery
	if r == nil {
		return
	}
	r.mu.Lock()
	held := r.held.Take()
	if r.release != nil {
		r.release.Stop()
	}
	r.mu.Unlock()
	wake(held)
}

func wake(ways []*fanout.Way) {
	for _, p := range ways {
		p.Wake()
	}
}
