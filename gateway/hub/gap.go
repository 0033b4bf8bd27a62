package hub

import (
	"strconv"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// gapFrame is what a socket gets when publications are gone: V2 is told what it
// missed, V1 has no word for it and is asked to come back.
func (p *prepared) gapFrame(sub *subscription) *socket.Frame {
	if sub.form&formV2 == 0 {
		return p.channel.hub.reconnect
	}
	slot := &p.plain[pusher.V2]
	if f := slot.Load(); f != nil {
		return f
	}
	f := resumeFailed(p.channel.name, p.gap, p.channel.hub.messageID())
	slot.Store(f)
	return f
}

// gapFailure is what a gap means for a position before it.
func gapFailure(channel string, g *broker.Gap) *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{
		Channel: channel, Code: pusher.PositionExpired, Expected: g.After.Epoch, Current: g.Resume.Epoch, Newest: g.Resume.Offset,
		Reason: "publications after serial " + strconv.FormatUint(g.After.Offset, 10) + " are missing: " + string(g.Reason),
	}
	switch g.Reason {
	case broker.GapEpoch:
		f.Code = pusher.StreamReset
	case broker.GapUnavailable:
		f.Code = pusher.PersistenceUnavailable
	}
	return f
}

func resumeFailed(channel string, g *broker.Gap, messageID string) *socket.Frame {
	d := pusher.AppendResumeFailed(nil, gapFailure(channel, g))
	return controlFrame(pusher.V2, len(d)+128, &pusher.Control{
		Event: "resume_failed", Channel: channel, Text: string(d), MessageID: messageID,
	})
}
