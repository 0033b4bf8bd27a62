package hub

import (
	"strconv"
	"sync"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// subscription is one socket's interest in one channel. It holds no bases: the
// socket has every publication above since, so it holds a base exactly if that
// publication lies above it.
type subscription struct {
	out   *outbox
	since uint64
	form  form
}

// subscribers is the part of a channel's subscribers that lives in one shard.
type subscribers struct {
	mu    sync.Mutex
	list  []subscription
	index map[*Client]int32
	// last is the offset up to which the list has been served.
	last uint64
}

// advance notes that a publication was given to everybody in the list.
func (s *subscribers) advance(p *prepared) {
	if p.gap != nil {
		s.last = p.gap.Resume.Offset
		for i := range s.list {
			s.list[i].since = s.last
		}
	} else if p.pub.Offset > s.last {
		s.last = p.pub.Offset
	}
}

// skip notes a publication that did not concern this shard, because it has no
// subscribers. It reports false if it has some.
func (s *subscribers) skip(p *prepared) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 0 {
		return false
	}
	s.advance(p)
	return true
}

// put adds a subscription or changes its form. The success frame is queued under
// the same lock, so that it precedes every publication that the socket gets.
// It reports whether the socket is new.
func (s *subscribers) put(c *Client, f form, success func(position uint64) *Frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.send(success(s.last))
	if i, ok := s.index[c]; ok {
		sub := &s.list[i]
		sub.form, sub.since = f, s.last
		return false
	}
	if s.index == nil {
		s.index = map[*Client]int32{}
	}
	s.index[c] = int32(len(s.list))
	s.list = append(s.list, subscription{out: c.out, since: s.last, form: f})
	return true
}

// reform changes the form of a subscription. A socket holds no marked text from
// before it took part in delta compression, so it starts from here.
func (s *subscribers) reform(c *Client, f form) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[c]
	if !ok || s.list[i].form == f {
		return
	}
	sub := &s.list[i]
	if (sub.form^f)&^formVCDIFF != 0 {
		sub.since = s.last
	}
	sub.form = f
}

// forget makes the next tracked frame of every key full for one socket.
func (s *subscribers) forget(c *Client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[c]
	if ok {
		s.list[i].since = s.last
	}
	return ok
}

func (s *subscribers) drop(c *Client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[c]
	if !ok {
		return false
	}
	last := len(s.list) - 1
	moved := s.list[last]
	s.list[i] = moved
	s.list[last] = subscription{}
	s.list = s.list[:last]
	if int(i) != last {
		s.index[moved.out.client] = i
	}
	delete(s.index, c)
	if last == 0 {
		s.list, s.index = nil, nil
	}
	return true
}

// choice picks the frame for each subscription and counts what it picked. It is
// used for one publication in one shard.
type choice struct {
	p *prepared
	tally
}

// tally counts tracked frames of one publication.
type tally struct {
	full, delta     int
	original, saved int
	plain           int
}

func (c *choice) init(p *prepared) { c.p = p }

// pick returns the frame for a subscription, or nil if it gets none.
func (c *choice) pick(sub *subscription) *Frame {
	p := c.p
	if p.gap != nil {
		return p.missed(sub)
	}
	if p.pub.Offset <= sub.since {
		return nil
	}
	if p.exclude != nil && sub.out.client == p.exclude {
		// What the socket did not get cannot be a base.
		if p.tracked {
			sub.since = p.pub.Offset
		}
		return nil
	}
	f := sub.form
	if f&formDelta == 0 || !p.tracked {
		c.plain++
		return p.bare(f.dialect(), f&formDelta != 0)
	}
	full := p.full(f)
	size := len(full.Payload())
	c.original += size
	if p.base != nil && p.base.pub.Offset > sub.since {
		if d := p.delta(f); d != nil {
			c.delta++
			c.saved += size - len(d.Payload())
			return d
		}
	}
	c.full++
	return full
}

// missed is what a socket gets when publications are gone: V2 is told what it
// missed, V1 has no word for it and is asked to come back.
func (p *prepared) missed(sub *subscription) *Frame {
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

func resumeFailed(channel string, g *broker.Gap, messageID string) *Frame {
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
	return seal(pusher.AppendControl(newBuffer(len(d)+128), pusher.V2, &pusher.Control{
		Event: "resume_failed", Channel: channel, Text: string(d), MessageID: messageID,
	}), opText)
}
