package fanout

import (
	"strconv"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// gap tells subscribers that publications are missing for good. V2 and event streams are told which. V1 has
// no such message, so its sockets are closed to make them subscribe again.
type gap struct {
	broker.Gap
	// frames are by dialect.
	frames [pusher.Dialects]*socket.Frame
}

// newGap returns a gap of the channel with its frames.
func newGap(h *Hall, channel string, g broker.Gap) *gap {
	out := &gap{Gap: g}
	f := gapFailure(channel, &g)
	for _, d := range [...]pusher.Dialect{pusher.V2, pusher.Events} {
		out.frames[d] = FailureFrame(d, f, h.MessageID())
	}
	return out
}

// Miss tells all subscribers that publications are missing for good.
func (l *Line) Miss(g broker.Gap) {
	l.Post(newGap(l.Hall, l.Name, g))
}

// weight implements [Prepared].
func (g *gap) weight() int { return 256 }

// deliver implements [Prepared].
func (g *gap) deliver(s *Shard, to *Subscribers) {
	count := uint64(0)
	to.mu.Lock()
	for i := range to.list {
		sub := &to.list[i]
		switch {
		case sub.state == behind:
			s.giveUp(sub)
		case sub.state == catching && s.interrupt(g, to, sub):
		case sub.form.Dialect() == pusher.V1:
			if sub.out.End(s.hall.Reconnect) {
				s.loop.dirty = append(s.loop.dirty, sub.out)
			}
		case s.tell(to, sub, &pusher.Place{Stream: g.Resume.Epoch, Serial: g.Resume.Offset}, g.frames[sub.form.Dialect()]):
			count++
		}
	}
	to.done(g)
	to.mu.Unlock()
	s.Delivered.Add(count)
}

// passed implements [Prepared]: bases that were held before the gap are useless, and so are the queues.
func (g *gap) passed(s *Subscribers) {
	s.last, s.epoch = g.Resume.Offset, g.Resume.Epoch
	s.void, s.isVoid = s.last, g.Empty
	for i := range s.list {
		sub := &s.list[i]
		sub.since, sub.marks = s.last, sub.marks&^holed
		if sub.state == behind {
			sub.state = live
		}
	}
	for o, d := range s.details {
		d.queue.discard()
		if d.holes = nil; d.past == nil {
			delete(s.details, o) // A way that remains continues with a snapshot.
		}
	}
	if g.After.Epoch != g.Resume.Epoch {
		s.cached = nil
	}
}

// gapFailure returns the failure of a position before the gap.
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

// FailureFrame returns the frame that tells a client that it cannot get what it missed.
func FailureFrame(d pusher.Dialect, f *pusher.ResumeFailure, messageID string) *socket.Frame {
	text := pusher.AppendResumeFailed(nil, f)
	return ControlFrame(d, len(text)+128+len(f.Channel), &pusher.Control{
		Event: "resume_failed", Channel: f.Channel, Text: string(text), MessageID: messageID,
	})
}
