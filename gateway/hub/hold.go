package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/past"
)

// hold has the way of a subscription wait for a resume, if one is to be expected. said means that the
// client says so. It waits from when this message has been handled.
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

// handling notes that what the client has sent is being handled, also while that waits for its turn, or no longer.
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

// wait has those who are held go on in time. The caller holds the lock.
func (c *Client) wait(now time.Time) {
	switch r := c.recovery; {
	case r.held.Len() == 0:
	case r.release == nil:
		r.release = time.AfterFunc(r.held.Wait(now), func() { c.hub.tasks.Go(func() { c.patient(time.Now()) }) })
	default:
		r.release.Reset(r.held.Wait(now))
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
func (c *Client) patient(now time.Time) {
	r := c.recovery
	r.mu.Lock()
	due := r.held.Due(now, c.sock.Unread())
	c.wait(now)
	r.mu.Unlock()
	wake(due)
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
