package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

// hold has the way of a new subscription wait for a resume, if one is to be expected.
func (c *Client) hold(p *fanout.Way) bool {
	r := c.recovery
	if r == nil || r.asked || p.Line.Past == nil || c.hub.opt.Now().Sub(c.began) > holdAge {
		return false
	}
	p.Held.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, p)
	if r.release == nil {
		r.release = time.AfterFunc(holdTime, func() { c.hub.background(c.patient) })
	} else {
		r.release.Reset(holdTime)
	}
	return true
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
	if r.busy = busy; !busy && len(r.held) > 0 && c.hub.opt.Now().Sub(c.began) <= holdAge {
		r.release.Reset(holdTime)
	}
}

// patient lets the subscriptions go on that waited for a resume which did not come in time.
func (c *Client) patient() {
	r := c.recovery
	r.mu.Lock()
	if r.busy && c.hub.opt.Now().Sub(c.began) <= holdAge {
		r.release.Reset(holdTime)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	c.letGo()
}

// letGo lets all subscriptions go on that are held.
func (c *Client) letGo() {
	r := c.recovery
	if r == nil {
		return
	}
	r.mu.Lock()
	held := r.held
	r.held = nil
	if r.release != nil {
		r.release.Stop()
	}
	r.mu.Unlock()
	for _, p := range held {
		p.Held.Store(false)
		p.Wake()
	}
}
