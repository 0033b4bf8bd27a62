package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/past"
)

// hold makes the way of a subscription wait for a resume, if one may follow, and reports whether it did. said
// means that the client has announced a resume. The waiting time begins when this message has been handled.
func (c *Client) hold(p *fanout.Way, said bool) bool {
	r := c.recovery
	if r == nil || r.asked || p.Line.Past == nil || !said && c.hub.opt.Now().Sub(c.began) > past.HoldAge {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held.Add(p, said, time.Now())
	return true
}

// handling notes that a message of the client begins (busy) or ends being handled. Waiting for a turn is a
// part of it.
func (c *Client) handling(busy bool) {
	if r := c.recovery; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		now := time.Now()
		if r.held.Busy(busy, now); !busy {
			c.wait(now)
		}
	}
}

// wait sets the timer for the subscriptions that are held. The caller holds the lock.
func (c *Client) wait(now time.Time) {
	switch r := c.recovery; {
	case r.held.Len() == 0:
	case r.release == nil:
		r.release = time.AfterFunc(r.held.Wait(now), func() { c.hub.tasks.Go(func() { c.patient(time.Now()) }) })
	default:
		r.release.Reset(r.held.Wait(now))
	}
}

// unhold forgets the held ways of a channel that the client has unsubscribed from.
func (c *Client) unhold(ch *Channel) {
	if r := c.recovery; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held.Drop(ch.Line)
	}
}

// patient releases the subscriptions whose resume did not come in time.
func (c *Client) patient(now time.Time) {
	r := c.recovery
	r.mu.Lock()
	due := r.held.Due(now, c.sock.Unread())
	c.wait(now)
	r.mu.Unlock()
	wake(due)
}

// letGo releases all subscriptions that are held.
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
