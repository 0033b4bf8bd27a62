package hub

import (
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// notice is news about a channel that is not in its log: who came and went.
type notice struct {
	// version orders the news of a channel's members; 0 is for everybody.
	version uint64
	news    []herald.News

	mu     rank.Mutex[rank.Notice]
	frames [2][]*socket.Frame // by dialect
}

// Announce implements [herald.Audience].
func (c *Channel) Announce(version uint64, news []herald.News) {
	weight := 256
	for _, e := range news {
		weight += len(e.Data) + 128
	}
	c.post(&prepared{texts: &texts{channel: c}, notice: &notice{version: version, news: news}, weight: weight})
}

// framesFor are the frames of a notice, built once and shared.
func (p *prepared) framesFor(d pusher.Dialect) []*socket.Frame {
	n := p.notice
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frames[d] == nil {
		for _, e := range n.news {
			f := pusher.Control{Event: e.Event, Internal: true, Channel: p.channel.name, Text: string(e.Data)}
			if d == pusher.V2 {
				f.MessageID = p.channel.hub.messageID()
			}
			n.frames[d] = append(n.frames[d], controlFrame(d, len(e.Data)*2+128, &f))
		}
	}
	return n.frames[d]
}

// announce gives a notice to the shard's subscribers, except those who learned of it
// when they subscribed.
func (s *shard) announce(j job) {
	j.to.mu.Lock()
	defer j.to.mu.Unlock()
	n := j.p.notice
	for i := range j.to.list {
		sub := &j.to.list[i]
		if n.version > 0 && j.to.greeted[sub.out] >= n.version {
			continue
		}
		frames := j.p.framesFor(sub.form.dialect())
		if sub.state == behind {
			if j.to.details[sub.out].queue.note(frames, s.hub.sockets.Budget()) {
				s.giveUp(sub)
			}
			continue
		}
		for _, f := range frames {
			s.push(sub.out, f)
		}
	}
	j.to.done(j)
}
