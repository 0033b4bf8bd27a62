package hub

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

func (h *Hub) sweepLoop() {
	defer h.loops.Done()
	t := time.NewTicker(h.opt.SweepInterval)
	defer t.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-t.C:
			h.sweep(h.opt.Now())
		}
	}
}

// sweep pings silent connections, ends those that did not answer, frees memory of idle outboxes and detaches
// idle channels.
func (h *Hub) sweep(now time.Time) {
	var clients []*Client
	for i := range h.connections {
		clients = h.connections[i].list(clients[:0])
		for _, c := range clients {
			c.check(now)
		}
	}
	for _, c := range h.expired(now) {
		c.detach()
	}
	if h.opt.Roster != nil {
		for _, c := range h.attached() {
			c.roll.Sweep(now)
		}
	}
	if h.cluster != nil {
		for _, c := range h.attached() {
			c.log.Lock()
			if c.log.count != nil {
				c.log.count.Sweep(now)
			}
			c.log.Unlock()
		}
	}
	h.thinBases()
	if now.Sub(h.basesSwept) >= basesSweep {
		h.basesSwept = now
		for _, c := range h.attached() {
			c.expireBases(now)
		}
	}
}

// basesSweep is the time between two checks for bases that are too old.
const basesSweep = 30 * time.Second

// thinBases drops bases when all channels together have too many. The channels that were silent for longest
// give up theirs first.
func (h *Hub) thinBases() {
	if h.hall.BaseBytes.Load() <= h.opt.TotalBaseBytes {
		return
	}
	type silent struct {
		channel *Channel
		heard   time.Time
	}
	var all []silent
	for _, c := range h.attached() {
		c.log.Lock()
		if c.log.bases.Size() > 0 {
			all = append(all, silent{c, c.log.count.Arrived()})
		}
		c.log.Unlock()
	}
	slices.SortFunc(all, func(a, b silent) int { return a.heard.Compare(b.heard) })
	for _, s := range all {
		if h.hall.BaseBytes.Load() <= h.opt.TotalBaseBytes/4*3 {
			return
		}
		s.channel.log.Lock()
		s.channel.log.bases.Drop()
		s.channel.log.Unlock()
	}
}

func (h *Hub) attached() []*Channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*Channel, 0, len(h.channels))
	for _, c := range h.channels {
		all = append(all, c)
	}
	return all
}

// expired removes channels that have had no subscribers for long enough from the index.
func (h *Hub) expired(now time.Time) []*Channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*Channel
	for c := range h.idle {
		if now.Sub(c.idleSince) < h.opt.ChannelLinger || !c.roll.Idle() {
			continue
		}
		delete(h.idle, c)
		delete(h.channels, channelKey{c.tenant.ID, c.Name})
		out = append(out, c)
	}
	return out
}

// check applies protocol sections 1.4 and 5.1 to one connection.
func (c *Client) check(now time.Time) {
	c.sock.Shrink()
	seen := c.sock.Seen()
	silent := now.Sub(time.Unix(0, seen))
	wait := c.hub.opt.ActivityTimeout
	if c.dialect == pusher.V2 {
		wait = max(wait/2, 5*time.Second)
	}
	if c.refused != 0 {
		// The peer was refused and did not leave.
		if silent > c.hub.opt.Linger {
			c.sock.Close()
		}
		return
	}
	if c.dialect == pusher.Events {
		c.tick(now)
		return
	}
	if c.queued.Load() {
		return
	}
	if t := c.app().AuthTimeout; t > 0 && now.Sub(c.began) >= t && !c.authorized.Load() {
		c.limited("authorization_timeout")
		c.endSaying(pusher.CloseNotAuthorized, fmt.Sprintf(reasonUnauthorized, t))
		return
	}
	if c.again.Due(now) {
		c.endSaying(pusher.CloseOverCapacity, reasonAnew)
		return
	}
	if seen >= c.pinged {
		// The peer has answered. A new silence counts from that answer.
		c.pinged = 0
	}
	if silent < wait {
		return
	}
	switch {
	case c.pinged == 0:
		c.pinged = now.UnixNano()
		if c.dialect != pusher.V2 {
			c.control(pusher.Control{Event: "ping", Object: []byte("{}")})
		}
		// Some V1 clients do not know pusher:ping, but their WebSocket answers a ping.
		c.send(websocket.Seal(websocket.Buffer(0), websocket.Ping))
	case now.UnixNano()-c.pinged >= int64(c.hub.opt.PongTimeout):
		c.end(pusher.CloseNoPong)
	}
}
