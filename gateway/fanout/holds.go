package fanout

import "strings"

// maxHoles is the number of conflation values for which a subscription remembers the base that it holds. A
// subscription with more of them starts again from full frames.
const maxHoles = 16

// holes has the conflation values of which a socket has missed the last publication, with the offset of the
// base that it does hold, 0 for none.
type holes map[string]uint64

// base returns the index of the base that the socket holds, or -1 if it holds none from which the publication
// may start.
func (s *Subscribers) base(sub *subscription, p *Event) int {
	from := p.lineage(sub.form)
	if from.Full || from.recent[0] == nil {
		return -1
	}
	if sub.marks&holed != 0 {
		if offset, ok := s.details[sub.out].holes[p.keyOf(sub.form)]; ok {
			return from.at(offset)
		}
	}
	if from.recent[0].Pub.Offset > sub.since {
		return 0
	}
	return -1
}

// missed notes that the socket does not receive a tracked publication.
func (s *Subscribers) missed(sub *subscription, p *Event) {
	if !p.Tracked || sub.form&Delta == 0 {
		return
	}
	d, key := s.detail(sub), p.keyOf(sub.form)
	if d.holes == nil {
		d.holes = holes{}
	}
	sub.marks |= holed
	if _, known := d.holes[key]; known {
		return
	}
	held := uint64(0)
	if last := p.lineage(sub.form).recent[0]; last != nil && last.Pub.Offset > sub.since {
		held = last.Pub.Offset
	}
	d.holes[strings.Clone(key)] = held // the key may be a part of a publication that should not be kept alive
	if len(d.holes) > maxHoles {
		// A subscription that is catching up may have a since that is ahead of this publication.
		sub.since = max(sub.since, p.Pub.Offset)
		s.mend(sub)
	}
}

// received notes that the socket got a tracked publication in the order of the channel. So it holds the last
// publication of that conflation value again.
func (s *Subscribers) received(sub *subscription, p *Event) {
	if sub.marks&holed == 0 || !p.Tracked {
		return
	}
	d := s.details[sub.out]
	delete(d.holes, p.keyOf(sub.form))
	if len(d.holes) == 0 {
		s.mend(sub)
	}
}

// receivedLate notes that the socket got a publication out of its queue. This need not be the last one of its
// conflation value: the socket may have been excluded from a later one, and in single-base mode others of the
// channel followed.
func (s *Subscribers) receivedLate(sub *subscription, p *Event) {
	if !p.Tracked || sub.form&Delta == 0 {
		return
	}
	d := s.detail(sub)
	if d.holes == nil {
		d.holes = holes{}
	}
	d.holes[strings.Clone(p.keyOf(sub.form))] = p.Pub.Offset
	sub.marks |= holed
}

// mend forgets the holes of a subscription.
func (s *Subscribers) mend(sub *subscription) {
	if sub.marks&holed == 0 {
		return
	}
	sub.marks &^= holed
	s.details[sub.out].holes = nil
	s.tidy(sub)
}

// restart notes that the socket holds no bases: the next tracked frame of every conflation value is full.
func (s *Subscribers) restart(sub *subscription) {
	s.mend(sub)
	sub.since = s.last
}
