package hub

import (
	"context"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// maxPages is how many pages of history a connection may wait for at a time (protocol section 5.5).
const maxPages = 2

// PageRequest is a subscriber's request for a page of history.
type PageRequest struct {
	pusher.ChannelHistory
	App *app.App
	// Attach is the position at which the subscription begins, and Told the serial by which the client knows
	// it.
	Attach broker.Position
	Told   uint64
	// MaxBytes is about how many bytes of events the page may have.
	MaxBytes int
}

// page serves a request for history. The answer is sent when the log has been read; other messages of the
// client are handled meanwhile.
func (c *Client) page(data string) {
	if c.dialect != pusher.V2 || c.hub.opt.Page == nil {
		c.deny(refusedHistory, "", pusher.NoCode, "channel_history is offered to connections of protocol 2 only; others read history over HTTP")
		return
	}
	h, err := pusher.ParseChannelHistory(data)
	if err != nil {
		c.deny(refusedHistory, h.Channel, pusher.NoCode, "channel_history: %v", err)
		return
	}
	m := c.membership(h.Channel)
	if m == nil {
		c.deny(refusedHistory, h.Channel, pusher.ErrorUnauthorized, "channel_history is for subscribers, and this connection is none of the channel %.200s", h.Channel)
		return
	}
	if c.pages.Add(1) > maxPages {
		c.pages.Add(-1)
		c.deny(refusedHistory, h.Channel, pusher.ErrorOverCapacity, "channel_history: %d requests of this connection are being answered; wait for them", maxPages)
		return
	}
	want := PageRequest{
		ChannelHistory: h, App: c.app(), Attach: m.attach, Told: m.told, MaxBytes: c.hub.opt.QueueBytes / 4,
	}
	if !c.hub.tasks.Go(func() {
		defer c.pages.Add(-1)
		c.sendPage(want)
	}) {
		c.pages.Add(-1)
	}
}

func (c *Client) sendPage(want PageRequest) {
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.AttachTimeout)
	defer cancel()
	page, err := c.hub.opt.Page(ctx, want)
	if err != nil {
		c.deny(refusedHistory, want.Channel, pusher.NoCode, "channel_history of %.200s: %v", want.Channel, err)
		return
	}
	c.control(pusher.Control{Event: "channel_history", Channel: want.Channel, Object: page})
}
