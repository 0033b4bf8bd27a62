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

func resumeFailed(channel string, g *broker.Gap, messageID string) *socket.Frame {
	code := "position_expired"
	switch g.Reason {
	case broker.GapEpoch:
		code = "stream_reset"
	case broker.GapUnavailable:
		code = "persistence_unavailable"
	}
	d := append([]byte(nil), `{"channel":`...)
	d = pusher.AppendString(d, channel)
	d = append(append(append(d, `,"code":"`...), code...), `","reason":`...)
	d = pusher.AppendString(d, "publications after serial "+strconv.FormatUint(g.After.Offset, 10)+" are missing: "+string(g.Reason))
	d = append(d, `,"expected_stream_id":`...)
	d = pusher.AppendString(d, g.After.Epoch)
	d = append(d, `,"current_stream_id":`...)
	d = pusher.AppendString(d, g.Resume.Epoch)
	d = append(d, `,"oldest_available_serial":null,"newest_available_serial":`...)
	d = append(strconv.AppendUint(d, g.Resume.Offset, 10), '}')
	return controlFrame(pusher.V2, len(d)+128, &pusher.Control{
		Event: "resume_failed", Channel: channel, Text: string(d), MessageID: messageID,
	})
}
