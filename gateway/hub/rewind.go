package hub

import (
	"context"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// rewound ends the way of a subscription that began with a rewind.
type rewound struct {
	client               *Client
	channel              *Channel
	byLimit, byRetention bool
}

// takeWish parses the rewind of a subscription. It answers a refusal itself and then returns false.
func (c *Client) takeWish(r *request) bool {
	if r.Rewind == "" {
		return true
	}
	wish, err := pusher.ParseRewind(r.Rewind)
	reason := ""
	switch {
	case err != nil:
		reason = err.Error()
	case c.dialect != pusher.V2:
		reason = "rewind is offered to connections of protocol 2 only"
	case !c.app().Rewind || c.hub.opt.History == nil || c.app().Readings.Of(r.Channel).Off || r.kind.ServerToUser():
		reason = "rewind is not enabled for this channel"
	default:
		r.wish = &wish
		return true
	}
	c.refuse(r.Channel, pusher.NoCode, "InvalidRequest", 400, reason)
	return false
}

// rewind returns the way of a new subscription that begins with a rewind.
func (c *Client) rewind(ctx context.Context, ch *Channel, wish *pusher.Rewind) (*fanout.Way, error) {
	end := &rewound{client: c, channel: ch}
	p := &fanout.Way{Line: ch.Line, Shard: c.shard, Out: c.sock.Outbox(), Is: c.id, Ends: end}
	limit := c.app().Limits.MaxHistoryPage
	// The subscription gets anything newer as live events.
	q := broker.Query{NewestFirst: true, Limit: limit, To: ch.Shards[c.shard.ID].Served().Offset}
	if wish.Count > 0 {
		q.Limit = min(wish.Count, limit)
	} else {
		q.Since = c.hub.opt.LogTime().Add(-wish.Age)
	}
	from, err := ch.recent.Rewind(ctx, q)
	if err != nil {
		return nil, err
	}
	p.Place, p.Cold = from.Place, from.Cold
	end.byLimit, end.byRetention = from.More || wish.Count > limit, from.Cut
	return p, nil
}

func (r *rewound) End(p *fanout.Way) (frames []*socket.Frame) {
	if f := p.Failed.Load(); f != nil {
		if r.byRetention = true; !p.Told {
			frames = append(frames, r.client.failedFrame(f))
		}
	}
	return append(frames, fanout.ControlFrame(r.client.dialect, 256+len(r.channel.Name), &pusher.Control{
		Event: "rewind_complete", Channel: r.channel.Name, MessageID: r.client.hub.messageID(),
		Object: pusher.AppendRewindComplete(nil, pusher.RewindComplete{
			History: p.Sent - p.Live, Live: p.Live, ByRetention: r.byRetention, ByLimit: r.byLimit,
		}),
	}))
}

func (*rewound) Abandon(*fanout.Way) {}
