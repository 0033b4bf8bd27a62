package count

import "time"

// Answer is a count that was looked up, with the publications to be counted after it.
type Answer struct {
	State Snapshot
	// Saved is the offset of the checkpoint, Revision its revision, and Age the time since it was written.
	Saved, Revision uint64
	Age             time.Duration
	// Past are the publications of the log from there on.
	Past []Publication
}

// ask requests that the count is looked up, unless that was requested already.
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

// Unanswered notes that the count could not be looked up.
func (m *Machine) Unanswered(now time.Time) {
	if !m.asked {
		return
	}
	m.asked, m.state, m.alone = false, Alone, now
	m.catchUp(now)
}

// Found replaces the present count by one that was looked up. It returns how those publications of a.Past
// were counted that the feed has brought already; the feed brings the others again.
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

// catchUp counts the publications that have waited.
func (m *Machine) catchUp(now time.Time) (e Effect) {
	waiting := m.waiting
	m.waiting = nil
	for _, p := range waiting {
		_, more := m.step(p, true, now)
		e |= more
	}
	return e
}

// Ahead reports whether the count is further than the feed, which has brought everything up to an offset.
// This gateway does not know the count of the publications in between.
func (m *Machine) Ahead(brought uint64) bool {
	counted, _ := m.interval.Position()
	return m.state == Counting && max(m.brought, brought) < counted
}
