package hub

import (
	"maps"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// notice is news about a channel that is not in its log: who came and went.
type notice struct {
	line *line
	// version orders the news of a channel's members; 0 is for everybody.
	version uint64
	news    []herald.News

	mu     rank.Mutex[rank.Notice]
	frames [2][]*socket.Frame // by dialect
}

// Announce implements [herald.Audience].
func (l *line) Announce(version uint64, news []herald.News) {
	l.post(&notice{line: l, version: version, news: news})
}

// weight implements [prepared].
func (n *notice) weight() int {
	w := 256
	for _, e := range n.news {
		w += len(e.Data) + 128
	}
	return w
}

// framesFor are the frames of a notice, built once and shared.
func (n *notice) framesFor(d pusher.Dialect) []*socket.Frame {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frames[d] == nil {
		for _, e := range n.news {
			f := pusher.Control{Event: e.Event, Internal: true, Channel: n.line.name, Text: string(e.Data)}
			if d == pusher.V2 {
				f.MessageID = n.line.hall.messageID()
			}
			n.frames[d] = append(n.frames[d], controlFrame(d, len(e.Data)*2+128, &f))
		}
	}
	return n.frames[d]
}

// deliver implements [prepared]. Those who learned of it when they subscribed are not told.
func (n *notice) deliver(s *shard, to *subscribers) {
	for d := range n.frames {
		n.framesFor(pusher.Dialect(d)) // not under the lock
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	for i := range to.list {
		sub := &to.list[i]
		if n.version > 0 && to.greeted[sub.out] >= n.version {
			continue
		}
		frames := n.framesFor(sub.form.dialect())
		if sub.state == behind {
			if to.details[sub.out].queue.note(frames, s.hall.sockets.Budget()) {
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

// passed implements [prepared].
func (n *notice) passed(s *subscribers) {
	if n.version > 0 {
		s.present = n.version
		maps.DeleteFunc(s.greeted, func(_ *socket.Outbox, version uint64) bool { return version <= s.present })
	}
}
