package hub

import (
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// snapshot returns the way of a subscription that begins with a snapshot.
func (c *Client) snapshot(ch *Channel) *fanout.Way {
	return &fanout.Way{
		Line: ch.Line, Shard: c.shard, Out: c.sock.Outbox(), Is: c.id, Latest: true, Ends: &snapshotted{client: c, channel: ch},
	}
}

// instead returns what a subscription gets if it cannot be resumed: the snapshot if the app sends it to every
// new subscriber, otherwise nil.
func (c *Client) instead(ch *Channel) fanout.Ending {
	if !c.app().Snapshot(ch.Name).On || ch.recent == nil {
		return nil
	}
	return &snapshotted{client: c, channel: ch}
}

// snapshotted ends the way of a subscription that began with a snapshot.
type snapshotted struct {
	client  *Client
	channel *Channel
}

func (e *snapshotted) End(p *fanout.Way) (frames []*socket.Frame) {
	if e.client.dialect == pusher.V1 {
		return nil
	}
	f := p.Failed.Load()
	if f != nil && !p.Told {
		frames = append(frames, e.client.failedFrame(f))
	}
	return append(frames, fanout.ControlFrame(e.client.dialect, 128+len(e.channel.Name), &pusher.Control{
		Event: "snapshot_complete", Channel: e.channel.Name, MessageID: e.client.hub.messageID(),
		Object: pusher.AppendSnapshotComplete(nil, p.Sent, f == nil && !(p.Fresh && e.channel.recent.Partial())),
	}))
}

func (*snapshotted) Abandon(*fanout.Way) {}
