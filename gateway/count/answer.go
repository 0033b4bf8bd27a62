package count

import "time"

// Answer is a count that was looked up, with what must be counted after it.
type Answer struct {
	State Snapshot
	// Saved is the place of its checkpoint, Revision the revision and Age the time since it
	// was written.
	Saved, Revision uint64
	Age             time.Duration
	// Past are the publications of the log from there on.
	Past []Publication
}

// ask has the count looked up, unless it is already.
func (m *Machine) ask(how Effect) Effect {
	if m.asked {
		return 0
	}
	m.asked = true
	if m.state != Alone {
		m.state = Looking
	}
	return how
}

// Unanswered says that the count could not be looked up.
func (m *Machine) Unanswered(now time.Time) {
	if !m.asked {
		return
	}
	m.asked, m.state, m.alone = false, Alone, now
	m.catchUp(now)
}

// Found puts what was looked up in place of the present count. Returns how those of the past
// were counted that the feed has brought already; it brings the others again.
func (m *Machine) Found(a Answer, now Moment) (past []bool, e Effect) {
	if !m.asked {
		return nil, 0
	}
	if m.interval.Restore(a.State) != nil {
		m.Unanswered(now.Here)
		return nil, 0
	}
	m.asked, m.state = false, Counting
	m.unsaved, m.begun = 0, 0
	m.marks.clear()
	m.marks.add(mark{a.State.Offset, m.interval.Hash()})
	m.note(a.Saved, a.Revision, now.Here.Add(-a.Age))
	for _, p := range a.Past {
		if p.Offset > m.brought {
			break
		}
		full, _ := m.step(p, false, now.Here)
		past = append(past, full)
		if p.Offset > m.saved {
			m.unsaved++
		}
	}
	pending := m.pending
	m.pending = nil
	e = m.catchUp(now.Here)
	if pending != nil && !m.asked {
		e |= m.compare(*pending, now)
	}
	return past, e
}

// catchUp counts what has waited.
func (m *Machine) catchUp(now time.Time) (e Effect) {
	waiting := m.waiting
	m.waiting = nil
	for _, p := range waiting {
		_, more := m.step(p, true, now)
		e |= more
	}
	return e
}

// Ahead reports whether the count is further than the feed, which has brought everything up
// to an offset: of what comes in between nobody here knows the count.
func (m *Machine) Ahead(brought uint64) bool {
	counted, _ := m.interval.Position()
	return m.state == Counting && max(m.brought, brought) < counted
}
