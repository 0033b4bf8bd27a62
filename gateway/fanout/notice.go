package fanout

import (
	"maps"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// notice is news of a channel that is not in its log, such as members that join and leave.
type notice struct {
	line *Line
	// version orders the news of a channel's members; news with version 0 is for every subscription.
	version uint64
	news    []herald.News

	mu     rank.Mutex[rank.Notice]
	frames [pusher.Dialects][]*socket.Frame // by dialect
}

// Announce implements [herald.Audience].
func (l *Line) Announce(version uint64, news []herald.News) {
	l.Post(&notice{line: l, version: version, news: news})
}

// weight implements [Prepared].
func (n *notice) weight() int {
	w := 256
	for _, e := range n.news {
		w += len(e.Data) + 128
	}
	return w
}

// framesFor returns the frames of a notice, built once and shared.
func (n *notice) framesFor(d pusher.Dialect) []*socket.Frame {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frames[d] == nil {
		for _, e := range n.news {
			f := pusher.Control{Event: e.Event, Internal: true, Channel: n.line.Name, Text: string(e.Data)}
			if d == pusher.V2 {
				f.MessageID = n.line.Hall.MessageID()
			}
			n.frames[d] = append(n.frames[d], ControlFrame(d, len(e.Data)*2+128, &f))
		}
	}
	return n.frames[d]
}

// deliver implements [Prepared]. It skips subscriptions whose success frame had this version already.
func (n *notice) deliver(s *Shard, to *Subscribers) {
	for d := range n.frames {
		n.framesFor(pusher.Dialect(d)) // made before the lock is taken
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	for i := range to.list {
		sub := &to.list[i]
		if n.version > 0 && to.greeted[sub.out] >= n.version {
			continue
		}
		frames := n.framesFor(sub.form.Dialect())
		if sub.state == behind {
			if to.details[sub.out].queue.note(frames, s.hall.Sockets.Budget()) {
				s.giveUp(sub)
			}
			continue
		}
		for _, f := range frames {
			s.push(sub.out, f)
		}
	}
	to.done(n)
}

// passed implements [Prepared].
func (n *notice) passed(s *Subscribers) {
	if n.version > 0 {
		s.present = n.version
		maps.DeleteFunc(s.greeted, func(_ *socket.Outbox, version uint64) bool { return version <= s.present })
	}
}
