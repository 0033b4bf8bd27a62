package hub

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/stream"
	"github.com/sluicehq/sluice/gateway/turns"
)

// serveEvents answers a request for an event stream. It takes the connection over for the stream, or answers
// why there is none.
func (h *Hub) serveEvents(w http.ResponseWriter, r *http.Request, key string) {
	a, closed := h.appOf(r, key)
	if closed.code == 0 {
		stream.AllowOrigin(w.Header(), r, a)
	}
	no := stream.OfClose(closed.code, closed.reason, closed.text)
	var q pusher.EventsQuery
	switch {
	case h.isClosed():
		no = stream.Stopping
	case no == nil && stream.Preflight(w, r):
		return
	case no == nil:
		limit := h.limit.Load()
		q, no = stream.Read(r, a, stream.Limits{Channels: limit.MaxSubscriptions, FilterBytes: limit.MaxFilterBytes, History: h.opt.History != nil, Now: time.Now()})
	}
	if no == nil && stream.HeadOnly(w, r) {
		return
	}
	if no == nil {
		closed = h.enter(r.Context(), a)
		if no = stream.OfClose(closed.code, closed.reason, closed.text); no == nil {
			no = h.openStream(w, r, a, &q)
		}
	}
	if no != nil {
		h.noStream(r, a, no)
		no.Answer(w)
	}
}

// noStream logs and counts a refused request. a is nil if there is no such app.
func (h *Hub) noStream(r *http.Request, a *app.App, no *stream.Refusal) {
	h.opt.Metrics.refusals.WithLabelValues(strconv.Itoa(no.Status), no.Reason, h.opt.Metrics.port).Inc()
	id := ""
	if a != nil {
		id = a.ID
	}
	about := []any{"reason", no.Reason, "status", no.Status, "address", r.RemoteAddr, "app", id, "text", no.Text}
	h.opt.Logger.Debug("an event stream was refused", about...)
	h.refusals.Warn(h.opt.Logger, "stream/"+no.Reason+"/"+id, "event streams are refused", about...)
}

// openStream attaches the channels, takes the connection over, and begins the stream. The connection has been
// counted already.
func (h *Hub) openStream(w http.ResponseWriter, r *http.Request, a *app.App, q *pusher.EventsQuery) *stream.Refusal {
	c := &Client{
		hub: h, tenant: a, dialect: pusher.Events, id: newSocketID(), address: r.RemoteAddr,
		shard: h.hall.Shards[h.nextShard.Add(1)%uint32(len(h.hall.Shards))], began: h.opt.Now(),
		places: fanout.NewPlaces(q.Channels, q.Places, a.Recovery),
	}
	c.asks = turns.AskerAt(c.address, h.opt.Network)
	h.opt.Metrics.streams.Add(a.ID, 1)
	for _, name := range q.Channels {
		if r.Context().Err() != nil {
			c.giveBack() // Nobody would read an answer.
			return nil
		}
		ch, err := h.acquire(a, name, &c.asks)
		if err != nil {
			c.giveBack()
			status, _, reason := c.notAttached(name, err)
			return stream.NotAttached(status, reason)
		}
		c.joined = append(c.joined, membership{channel: ch})
		if filter, err := h.filters.Take(q.Filter); err == nil && h.limit.Load().Filters {
			c.setFilter(&c.joined[len(c.joined)-1], filter)
		} else {
			h.filters.Drop(filter)
		}
	}
	conn, begin, stay, err := stream.Take(w, r, h.opt.SendBuffer)
	if err != nil {
		c.giveBack()
		return stream.NotTaken
	}
	h.startStream(c, conn, begin, q)
	stay()
	return nil
}

// giveBack reverses what was done for a reader that gets no stream.
func (c *Client) giveBack() {
	for i := range c.joined {
		c.setFilter(&c.joined[i], nil)
		c.hub.unref(c.joined[i].channel)
	}
	c.hub.left(c)
}
