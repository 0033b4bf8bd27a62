package hub

import (
	"cmp"
	"slices"

	"github.com/sluicehq/sluice/gateway/socket"
)

// maxHeld is the number of conflation values for which a subscription remembers
// what it holds. One with more of them starts from full frames again.
const maxHeld = 16

// irregular is what must be known of a subscription that did not receive every
// publication: because its socket was excluded, or because it is behind.
type irregular struct {
	// held has the offset of the base that the socket holds, 0 for none, for
	// the conflation values of which it has missed the last publication.
	held map[string]uint64
	// pending has the newest publication per conflation value that a socket
	// which is behind has not received yet.
	pending map[string]*prepared
	// skipped counts the publications that gave way to newer ones, from first
	// to last, since the socket was told.
	skipped     int
	first, last uint64
	// notices came while the socket was behind.
	notices []*socket.Frame
	// all is where what waits is counted, nil as long as nothing does.
	all *socket.Budget
}

// pendingRoom is what a publication that waits for one socket takes beside what is
// shared by all, in bytes.
const pendingRoom = 160

// hold counts a publication that waits for one more socket which is behind. With it stay
// the frames that are made of it and the bases that it starts from.
func (p *prepared) hold(in *socket.Budget) { in.Hold(&p.waits, 2*int64(p.weight), pendingRoom) }

func (p *prepared) release(in *socket.Budget) { in.Release(&p.waits, 2*int64(p.weight), pendingRoom) }

// wait keeps a publication in the place of an older one of the same value, which it
// returns.
func (e *irregular) wait(p *prepared) (old *prepared) {
	if e.pending == nil {
		e.pending = map[string]*prepared{}
	}
	e.all = p.channel.hub.sockets.Budget()
	if old = e.pending[p.key]; old != nil {
		old.release(e.all)
	}
	e.pending[p.key] = p
	p.hold(e.all)
	return old
}

// done takes a publication out that waits no longer.
func (e *irregular) done(p *prepared) {
	if waits := e.pending[p.key]; waits != nil {
		waits.release(e.all)
		delete(e.pending, p.key)
	}
}

// note keeps a notice.
func (e *irregular) note(frames []*socket.Frame, all *socket.Budget) {
	e.all = all
	for _, f := range frames {
		all.HoldFrame(f)
	}
	e.notices = append(e.notices, frames...)
}

// discard takes everything out that waits.
func (e *irregular) discard() {
	for _, p := range e.pending {
		p.release(e.all)
	}
	for _, f := range e.notices {
		e.all.ReleaseFrame(f)
	}
	e.pending, e.notices = nil, nil
}

// missed notes that the socket does not receive a tracked publication.
func (s *subscribers) missed(sub *subscription, p *prepared) {
	if !p.tracked || sub.form&formDelta == 0 {
		return
	}
	e, key := s.irregular(sub), p.keyOf(sub.form)
	if sub.flags&holed == 0 && e.held == nil {
		e.held = map[string]uint64{}
	}
	sub.flags |= holed
	if _, known := e.held[key]; known {
		return
	}
	holds := uint64(0)
	if last := p.bases[sub.form.mode()].recent[0]; last != nil && last.pub.Offset > sub.since {
		holds = last.pub.Offset
	}
	e.held[key] = holds
	if len(e.held) > maxHeld {
		sub.since = p.pub.Offset
		s.regular(sub)
	}
}

// base returns the place of the base that the socket holds, or -1 if it holds none
// of those that the publication may start from.
func (s *subscribers) base(sub *subscription, p *prepared) int {
	from := &p.bases[sub.form.mode()]
	if from.full || from.recent[0] == nil {
		return -1
	}
	if sub.flags&holed != 0 {
		if offset, ok := s.odd[sub.out].held[p.keyOf(sub.form)]; ok {
			return from.find(offset)
		}
	}
	if from.recent[0].pub.Offset > sub.since {
		return 0
	}
	return -1
}

// received notes that the socket got a tracked publication in the order of the
// channel, and so holds the last one of its conflation value again.
func (s *subscribers) received(sub *subscription, p *prepared) {
	if sub.flags&holed == 0 || !p.tracked {
		return
	}
	e := s.odd[sub.out]
	delete(e.held, p.keyOf(sub.form))
	if len(e.held) == 0 {
		s.regular(sub)
	}
}

func (s *subscribers) irregular(sub *subscription) *irregular {
	e := s.odd[sub.out]
	if e == nil {
		if s.odd == nil {
			s.odd = map[*socket.Outbox]*irregular{}
		}
		e = &irregular{}
		s.odd[sub.out] = e
	}
	return e
}

// regular forgets what the socket holds per conflation value.
func (s *subscribers) regular(sub *subscription) {
	if sub.flags&holed == 0 {
		return
	}
	sub.flags &^= holed
	if sub.flags&behind == 0 {
		delete(s.odd, sub.out)
		return
	}
	s.odd[sub.out].held = nil
}

// postpone keeps a publication for a socket that is behind, and tells whether an
// older one gave way to it and whether too many wait.
func (s *subscribers) postpone(sub *subscription, p *prepared) (replaced, tooMany bool) {
	e := s.irregular(sub)
	sub.flags |= behind
	if old := e.wait(p); old != nil {
		replaced = true
		e.skipped++
		if e.first == 0 || old.pub.Offset < e.first {
			e.first = old.pub.Offset
		}
		e.last = max(e.last, old.pub.Offset)
	}
	s.missed(sub, p)
	return replaced, len(e.pending) > max(p.channel.delta.MaxKeys, 1)
}

// waiting lists what a socket that is behind has not received, in the order of the
// log.
func (e *irregular) waiting() []*prepared {
	all := make([]*prepared, 0, len(e.pending))
	for _, p := range e.pending {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *prepared) int { return cmp.Compare(a.pub.Offset, b.pub.Offset) })
	return all
}

// caughtUp notes that the socket got a publication that had waited. It need not be
// the last one of its conflation value any more: the socket may have been excluded
// from a later one, and in single-base mode others of the channel came after it.
func (s *subscribers) caughtUp(sub *subscription, p *prepared) {
	e := s.odd[sub.out]
	e.done(p)
	if p.tracked && sub.form&formDelta != 0 {
		if e.held == nil {
			e.held = map[string]uint64{}
		}
		e.held[p.keyOf(sub.form)] = p.pub.Offset
		sub.flags |= holed
	}
	if len(e.pending) == 0 {
		sub.flags &^= behind
		if sub.flags&holed == 0 {
			delete(s.odd, sub.out)
		}
	}
}
