package hub

import (
	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// subscribers is the part of a channel's subscribers that lives in one shard.
type subscribers struct {
	outlook outlook

	mu    rank.Mutex[rank.Subscribers]
	list  []subscription
	index map[*socket.Outbox]int32
	// details has the subscriptions that are not live or have holes.
	details map[*socket.Outbox]*details
	// recent has, for subscriptions with the mark bounded, what bounds the channels of
	// their connections.
	recent map[*socket.Outbox]*recency
	// cached is the last event of a cache channel, up to last.
	cached *event
	// filters are those of the list.
	filters filters
	// last is the offset up to which the list has been served.
	last uint64
	// epoch is the life of the log that last is of.
	epoch string
	// posted counts the jobs that the shard has not done yet. Nothing may overtake
	// them, also when the list is empty meanwhile.
	posted int
	// present is the version of the channel's members up to which the list has
	// been told. Who subscribes learns of a later version at once; until the list
	// is there, greeted has which.
	present uint64
	greeted map[*socket.Outbox]uint64
}

// done notes that what was posted was given to everybody in the list. The caller holds the
// lock.
func (s *subscribers) done(p prepared) {
	p.passed(s)
	s.posted--
}

// begin notes where the feed of the channel begins.
func (s *subscribers) begin(at broker.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.epoch = max(s.last, at.Offset), at.Epoch
}

// served is the place up to which everybody was given everything.
func (s *subscribers) served() broker.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return broker.Position{Epoch: s.epoch, Offset: s.last}
}

// skip notes a publication that did not concern this shard, because it has no
// subscribers and none before it is on its way. It reports false if it may concern it.
func (s *subscribers) skip(p prepared) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pass(p)
}

func (s *subscribers) pass(p prepared) bool {
	if len(s.list) > 0 || s.posted > 0 {
		return false
	}
	p.passed(s)
	return true
}

// wants is skip for a publication that the caller posts to the shard if it reports
// true.
func (s *subscribers) wants(p prepared) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pass(p) {
		return false
	}
	s.posted++
	return true
}

// entry is a subscription as it is put among the others.
type entry struct {
	sock   *socket.Socket
	form   form
	filter *pusher.Filter
	// members is the version of the members that the client is told, 0 for none.
	members uint64
	// way is that through the past, nil for a subscription that is live at once.
	way *past
	// bound bounds the channels with bases of its connection, nil for no bound.
	bound *recency
	// greet tells the client, under the lock, so that this precedes every publication that
	// the socket gets. cached is the last event of a cache channel.
	greet func(at broker.Position, cached *event)
}

// put adds a subscription or changes its form and filter. It reports whether the socket is
// new, and whether nothing was done because there are newer members.
func (s *subscribers) put(e *entry) (isNew, stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.members > 0 && s.present > e.members {
		return false, true
	}
	if s.present < e.members {
		if s.greeted == nil {
			s.greeted = map[*socket.Outbox]uint64{}
		}
		s.greeted[e.sock.Outbox()] = e.members
	}
	e.greet(broker.Position{Epoch: s.epoch, Offset: s.last}, s.cached)
	if i, ok := s.index[e.sock.Outbox()]; ok {
		sub := &s.list[i]
		s.mend(sub)
		s.filters.drop(sub.filter)
		sub.form, sub.since, sub.filter = e.form, s.last, s.filters.use(e.filter)
		if e.way != nil && !e.way.held.Load() {
			s.travel(sub, e.way)
		}
		return false, false
	}
	if s.index == nil {
		s.index = map[*socket.Outbox]int32{}
	}
	sub := subscription{out: e.sock.Outbox(), since: s.last, form: e.form, filter: s.filters.use(e.filter)}
	s.index[sub.out] = int32(len(s.list))
	s.list = append(s.list, sub)
	if e.bound != nil {
		s.limit(&s.list[len(s.list)-1], e.bound)
	}
	if e.way != nil {
		s.travel(&s.list[len(s.list)-1], e.way)
	}
	return true, false
}

// remember notes the last event of a cache channel that was there before it was followed.
func (s *subscribers) remember(p *event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached == nil {
		s.cached = p
	}
}

// reform changes the form of a subscription. A socket holds no marked text from
// before it took part in delta compression, so it starts from here.
func (s *subscribers) reform(o *socket.Outbox, f form) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[o]
	if !ok || s.list[i].form == f {
		return
	}
	sub := &s.list[i]
	if (sub.form^f)&^formVCDIFF != 0 {
		s.restart(sub)
	}
	sub.form = f
}

// limitTo makes a subscription count among the channels of its connection that hold
// bases.
func (s *subscribers) limitTo(o *socket.Outbox, by *recency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[o]; ok {
		s.limit(&s.list[i], by)
	}
}

func (s *subscribers) limit(sub *subscription, to *recency) {
	if s.recent == nil {
		s.recent = map[*socket.Outbox]*recency{}
	}
	sub.marks |= bounded
	s.recent[sub.out] = to
}

// forget makes the next tracked frame of every key full for one socket.
func (s *subscribers) forget(o *socket.Outbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[o]
	if ok {
		s.restart(&s.list[i])
	}
	return ok
}

func (s *subscribers) drop(o *socket.Outbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[o]
	if !ok {
		return false
	}
	s.filters.drop(s.list[i].filter)
	delete(s.greeted, o)
	if sub := &s.list[i]; sub.state != live || sub.marks != 0 {
		if d := s.details[sub.out]; d != nil {
			d.queue.discard()
			if d.past != nil {
				d.past.quit()
				d.past.line.hall.catching.Add(-1)
			}
			delete(s.details, sub.out)
		}
		if sub.marks&bounded != 0 {
			s.recent[sub.out].drop(s)
			delete(s.recent, sub.out)
		}
	}
	last := len(s.list) - 1
	moved := s.list[last]
	s.list[i] = moved
	s.list[last] = subscription{}
	s.list = s.list[:last]
	if int(i) != last {
		s.index[moved.out] = i
	}
	delete(s.index, o)
	if last == 0 {
		s.list, s.index, s.details, s.recent = nil, nil, nil, nil
	}
	return true
}
