package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

// hold has the way of a new subscription wait for a resume, if one is to be expected. said
// means that the client says so.
func (c *Client) hold(p *fanout.Way, said bool) bool {
	r := c.recovery
	if r == nil || r.asked || p.Line.Past == nil || !said && !c.isNew() {
		return false
	}
	p.Held.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, p)
	if r.said = r.said || said; r.release == nil {
		r.release = time.AfterFunc(r.patience(), func() { c.hub.background(c.patient) })
	} else {
		r.release.Reset(r.patience())
	}
	return true
}

func (c *Client) isNew() bool { return c.hub.opt.Now().Sub(c.began) <= holdAge }

// patience is how long a resume is waited for. The caller holds the lock.
func (r *recovery) patience() time.Duration {
	if r.said {
		return holdAge
	}
	return holdTime
}

// handling notes that a message of the client is being handled, or no longer: the resume
// may be the next one.
func (c *Client) handling(busy bool) {
	r := c.recovery
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy = busy; !busy && len(r.held) > 0 && c.isNew() {
		r.release.Reset(r.patience())
	}
}

// patient lets the subscriptions go on that waited for a resume which did not come in time.
func (c *Client) patient() {
	r := c.recovery
	r.mu.Lock()
	wait := r.busy && c.isNew()
	if wait {
		r.release.Reset(holdTime)
	}
	r.mu.Unlock()
	if !wait {
		c.letGo()
	}
}

// letGo lets all subscriptions go on that are held.
func (c *Client) letGo() {
	r := c.recovery
	if r == nil {
		return
	}
	r.mu.Lock()
	held := r.held
	r.held, r.said = nil, false
	if r.release != nil {
		r.release.Stop()
	}
	r.mu.Unlock()
	for _, p := range held {
		p.Held.Store(false)
		p.Wake()
	}
}
