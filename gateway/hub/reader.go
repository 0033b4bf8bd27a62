package hub

import (
	"context"
	"math"
	"net"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// maxIdleTalk is how many bytes a reader may send after its request. They are ignored.
const maxIdleTalk = 4 << 10

// startStream gives the connection of an event stream its outbox and its reading goroutine, unless the hub
// was closed meanwhile.
func (h *Hub) startStream(c *Client, conn net.Conn, head []byte, q *pusher.EventsQuery) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		tooLate(c, conn, head, "")
		c.giveBack()
		return
	}
	h.clients.Add(1)
	c.sock = c.shard.Open(conn, h.kind(c.dialect, false))
	// The reader of a stream sends nothing. That its kernel acknowledges the beats shows that it is alive.
	c.sock.ExpectAnswer(h.opt.ActivityTimeout/2 + h.opt.PongTimeout)
	c.sock.Send(socket.NewFrame(head, 0)) // before another goroutine can send something
	h.connections[c.shard.ID].add(c)
	h.mu.Unlock()
	c.leaveIfGone()
	go func() {
		defer c.ended()
		c.beginStream(q)
		for left := maxIdleTalk; left > 0; {
			var room [256]byte
			n, err := conn.Read(room[:])
			if left -= n; err != nil {
				return
			}
		}
	}()
}

// beginStream subscribes to the channels in their order, each from the reader's position or from where the
// request asks to begin.
func (c *Client) beginStream(q *pusher.EventsQuery) {
	all := &resuming{client: c, began: c.hub.opt.Now(), pending: 1}
	ctx, cancel := c.hub.library.Patience()
	defer cancel()
	// The positions of all channels are looked up in the log together.
	doubts := make([]past.Doubt, len(q.Places))
	for i, at := range q.Places {
		if ch := c.joined[i].channel; at.Stream != "" {
			doubts[i] = ch.recent.Doubt(at.In(ch.Name), math.MaxUint64)
		}
	}
	for i := range c.joined {
		m := &c.joined[i]
		var way *fanout.Way
		var news []*socket.Frame
		if q.Places != nil && q.Places[i].Stream != "" {
			way, news = c.comeBack(ctx, all, m.channel, q.Places[i], doubts[i])
		} else {
			way, news = c.beginAt(ctx, m.channel, q.Wish)
		}
		c.sendAll(news)
		c.listen(m, way)
	}
	if q.Places != nil {
		all.begun()
	}
}

// comeBack returns the way of a reader from its position. If there is none, it returns frames that say why.
func (c *Client) comeBack(ctx context.Context, all *resuming, ch *Channel, from pusher.Place, doubt past.Doubt) (*fanout.Way, []*socket.Frame) {
	if ch.recent == nil || !c.app().Recovery.Enabled {
		return c.anew(ch), all.fail(&pusher.ResumeFailure{Channel: ch.Name, Code: pusher.PersistenceUnavailable, Expected: from.Stream,
			Reason: "nobody can be given what he missed of this channel (connection_recovery.enabled)"})
	}
	if f := doubt.Judge(ctx); f != nil {
		return c.anew(ch), all.fail(f)
	}
	all.add()
	return &fanout.Way{
		Line: ch.Line, Shard: c.shard, Out: c.sock.Outbox(), Is: c.id, Epoch: from.Stream, Place: from.Serial,
		Most: c.app().Recovery.MaxEvents, MostBytes: c.app().Recovery.MaxBytes, Ends: &resumed{all: all, channel: ch, at: from.In(ch.Name)}, Instead: c.instead(ch),
	}, nil
}

// anew returns the way of a reader that begins without a wish: the snapshot of the app, or nil to begin live.
func (c *Client) anew(ch *Channel) *fanout.Way {
	if c.instead(ch) == nil {
		return nil
	}
	return c.snapshot(ch)
}

// beginAt returns the way of a reader without a position, nil to begin live, or frames that say why the wish
// fails.
func (c *Client) beginAt(ctx context.Context, ch *Channel, wish *pusher.Rewind) (*fanout.Way, []*socket.Frame) {
	switch {
	case wish == nil:
		return c.anew(ch), nil
	case wish.Latest:
		return c.snapshot(ch), nil
	}
	way, err := c.rewind(ctx, ch, wish)
	if err != nil {
		return nil, []*socket.Frame{c.failedFrame(ch.recent.Failure(ch.life(), err))}
	}
	return way, nil
}

// listen adds a reader to the subscribers of a channel. On its way through the past it keeps its old
// position.
func (c *Client) listen(m *membership, way *fanout.Way) {
	ch := m.channel
	e := fanout.Entry{Sock: c.sock, Form: fanout.Events, Filter: m.filter, Way: way, Place: c.places.Of(ch.Name)}
	e.Greet = func(at fanout.Start) {
		f := fanout.ControlFrame(pusher.Events, 256+len(ch.Name), &pusher.Control{
			Event: "subscription_succeeded", Channel: ch.Name, StreamID: at.Epoch, Serial: at.Offset,
		})
		// An id claims that the reader has everything up to it. If the event of the cache follows, that event
		// brings the id.
		if way == nil && !c.fresh(ch, at.Cached) {
			e.Place.Begin(c.sock, f, at.Epoch, at.Offset)
		} else {
			c.send(f)
		}
		e.Owed = c.fromCache(ch, &at)
	}
	ch.put(c, &e, true)
	if way != nil {
		way.Wake()
	}
}

// tick sends a comment every half ActivityTimeout. Nothing answers it.
func (c *Client) tick(now time.Time) {
	if c.pinged == 0 {
		c.pinged = c.began.UnixNano()
	}
	if now.UnixNano()-c.pinged >= int64(c.hub.opt.ActivityTimeout/2) {
		c.pinged = now.UnixNano()
		c.send(c.hub.beat)
	}
}
