package fanout

import (
	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// Subscribers are a channel's subscribers in one shard.
type Subscribers struct {
	outlook outlook

	mu    rank.Mutex[rank.Subscribers]
	list  []subscription
	index map[*socket.Outbox]int32
	// details has the subscriptions that are not live or have holes.
	details map[*socket.Outbox]*details
	// recent has, for subscriptions with the mark bounded, what bounds the channels of their connections.
	recent map[*socket.Outbox]*Recency
	// places has, for subscriptions with the mark placed, the positions of their readers.
	places map[*socket.Outbox]OwnPlace
	// cached is the last event of a cache channel, up to last.
	cached *Event
	// filters are the filters of the list.
	filters filters
	// last is the offset up to which the list has been served.
	last uint64
	// epoch is the epoch of last.
	epoch string
	// void is the offset up to which the log has nothing of the channel, if isVoid is set.
	void   uint64
	isVoid bool
	// posted counts the jobs that the shard has not done yet. Nothing may overtake them, even if the list is
	// empty meanwhile.
	posted int
	// present is the version of the channel's members that the list has been told of. The success frame of a
	// new subscription may have a later version. greeted has this version until present reaches it.
	present uint64
	greeted map[*socket.Outbox]uint64
}

// done notes that something posted was given to the whole list. The caller holds the lock.
func (s *Subscribers) done(p Prepared) {
	p.passed(s)
	s.posted--
}

// Begin sets the position at which the feed of the channel begins. empty says that the log has nothing up to
// there.
func (s *Subscribers) Begin(at broker.Position, empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.epoch = max(s.last, at.Offset), at.Epoch
	s.void, s.isVoid = at.Offset, empty
}

// Served returns the position up to which the list has been served.
func (s *Subscribers) Served() broker.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return broker.Position{Epoch: s.epoch, Offset: s.last}
}

// Reached returns the position up to which a live socket was given everything, and whether the socket is
// live. Only the shard moves this position.
func (s *Subscribers) Reached(o *socket.Outbox) (at broker.Position, isLive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[o]
	return broker.Position{Epoch: s.epoch, Offset: s.last}, ok && s.list[i].state == live
}

// Skip notes a publication that does not concern this shard, because the shard has no subscribers of the
// channel and no earlier job waits. It reports false if there are some.
func (s *Subscribers) Skip(p Prepared) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pass(p)
}

func (s *Subscribers) pass(p Prepared) bool {
	if len(s.list) > 0 || s.posted > 0 {
		return false
	}
	p.passed(s)
	return true
}

// wants reports whether the caller must post p to the shard, and the number of subscriptions. Otherwise it
// does what Skip does.
func (s *Subscribers) wants(p Prepared) (wanted bool, sockets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pass(p) {
		return false, 0
	}
	s.posted++
	return true, len(s.list)
}

// Entry is a subscription to be put into the list.
type Entry struct {
	Sock   *socket.Socket
	Form   Form
	Filter *pusher.Filter
	// Members is the version of the members in the success frame, 0 for none.
	Members uint64
	// Way is the way through the past, nil for a subscription that is live at once.
	Way *Way
	// Bound bounds the channels with bases of the connection, nil for no bound.
	Bound *Recency
	// Place is the position of the reader of an event stream, the zero value for others.
	Place OwnPlace
	// Greet queues the success frame. It is called under the lock, so that this frame precedes every
	// publication that the socket gets.
	Greet func(Start)
	// Owed is the event of the cache that the subscription is to get, nil for none. Greet may set it. If
	// there is a way through the past, the event is sent at its place in the way, or at the beginning.
	Owed *Event
}

// Start is where a subscription begins.
type Start struct {
	broker.Position
	// Empty: the channel has no event, as far as the gateway knows.
	Empty bool
	// Cached is the last event of a cache channel, nil for none.
	Cached *Event
}

// Told returns the serial for the client: 0 if the channel has no event.
func (s *Start) Told() uint64 {
	if s.Empty {
		return 0
	}
	return s.Offset
}

// Put adds a subscription, or changes its form and filter. It reports whether the subscription is new. stale
// reports that nothing was done because Members is outdated.
func (s *Subscribers) Put(e *Entry) (isNew, stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Members > 0 && s.present > e.Members {
		return false, true
	}
	if s.present < e.Members {
		if s.greeted == nil {
			s.greeted = map[*socket.Outbox]uint64{}
		}
		s.greeted[e.Sock.Outbox()] = e.Members
	}
	e.Greet(Start{broker.Position{Epoch: s.epoch, Offset: s.last}, s.isVoid && s.last <= s.void, s.cached})
	if i, ok := s.index[e.Sock.Outbox()]; ok {
		sub := &s.list[i]
		s.mend(sub)
		s.filters.drop(sub.filter)
		sub.form, sub.since, sub.filter = sub.form.followedBy(e.Form), s.last, s.filters.use(e.Filter)
		switch {
		case e.Way != nil:
			e.Way.cached = e.Owed
			s.travel(sub, e.Way)
		case sub.state != catching: // Otherwise it is sent on the way.
			s.recall(sub, e)
		}
		return false, false
	}
	if s.index == nil {
		s.index = map[*socket.Outbox]int32{}
	}
	sub := subscription{out: e.Sock.Outbox(), since: s.last, form: e.Form, filter: s.filters.use(e.Filter)}
	s.index[sub.out] = int32(len(s.list))
	s.list = append(s.list, sub)
	if e.Bound != nil {
		s.limit(&s.list[len(s.list)-1], e.Bound)
	}
	if e.Place.Places != nil {
		s.place(&s.list[len(s.list)-1], e.Place)
	}
	if e.Way != nil {
		e.Way.cached = e.Owed
		s.setOut(&s.list[len(s.list)-1], e.Way)
	} else {
		s.recall(&s.list[len(s.list)-1], e)
	}
	return true, false
}

// recall sends the event of the cache at once, if it passes the filter of the subscription. The reader of an
// event stream is sent its first id with this event, or without it if the event does not pass.
func (s *Subscribers) recall(sub *subscription, e *Entry) {
	passes := e.Owed != nil && s.filters.passes(sub.filter, e.Owed)
	switch {
	case passes && e.Place.Places != nil:
		e.Place.Begin(e.Sock, e.Owed.recalled(e.Form), s.epoch, s.last)
	case passes:
		e.Sock.Send(e.Owed.recalled(e.Form))
	case e.Owed != nil && e.Place.Places != nil:
		e.Place.Begin(e.Sock, whereabouts, s.epoch, s.last)
	}
}

// Remember sets the last event of a cache channel from before the channel was followed.
func (s *Subscribers) Remember(p *Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached == nil {
		s.cached = p
	}
}

// setOut is travel for a new subscription. The epoch may have ended since the way was prepared.
func (s *Subscribers) setOut(sub *subscription, way *Way) {
	way.until = s.last // from here it continues if the way fails
	switch {
	case way.Epoch == "":
	case way.Epoch == s.epoch:
		sub.since = max(sub.since, way.Place)
	default:
		way.Failed.Store(&pusher.ResumeFailure{
			Channel: way.Line.Name, Code: pusher.StreamReset, Reason: "the stream of the position has ended", Expected: way.Epoch, Current: s.epoch,
		})
	}
	s.travel(sub, way)
}

// place makes the frames of a subscription carry the position of its reader.
func (s *Subscribers) place(sub *subscription, own OwnPlace) {
	if s.places == nil {
		s.places = map[*socket.Outbox]OwnPlace{}
	}
	sub.marks |= placed
	s.places[sub.out] = own
}

// Reform changes the form of a subscription. A socket holds no marked text from before it took part in delta
// compression, so its bases begin here.
func (s *Subscribers) Reform(o *socket.Outbox, f Form) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[o]
	if !ok {
		return
	}
	sub := &s.list[i]
	if f = sub.form.followedBy(f); sub.form == f {
		return
	}
	if (sub.form^f)&^VCDIFF != 0 {
		s.restart(sub)
	}
	sub.form = f
}

// LimitTo makes a subscription count among the channels of its connection that hold bases.
func (s *Subscribers) LimitTo(o *socket.Outbox, by *Recency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[o]; ok {
		s.limit(&s.list[i], by)
	}
}

func (s *Subscribers) limit(sub *subscription, to *Recency) {
	if s.recent == nil {
		s.recent = map[*socket.Outbox]*Recency{}
	}
	sub.marks |= bounded
	s.recent[sub.out] = to
}

// Forget makes the next tracked frame of every key full for one socket.
func (s *Subscribers) Forget(o *socket.Outbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[o]
	if ok {
		s.restart(&s.list[i])
	}
	return ok
}

// Drop removes the subscription of a socket, and reports whether there was one. It abandons its way.
func (s *Subscribers) Drop(o *socket.Outbox) bool {
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
				d.past.Line.Hall.Catching.Add(-1)
			}
			delete(s.details, sub.out)
		}
		if sub.marks&bounded != 0 {
			s.recent[sub.out].drop(s)
			delete(s.recent, sub.out)
		}
		delete(s.places, sub.out)
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
		s.list, s.index, s.details, s.recent, s.places = nil, nil, nil, nil, nil
	}
	return true
}
