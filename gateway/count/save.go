package count

import "time"

// save has a checkpoint written soon.
func (m *Machine) save(now time.Time) Effect {
	if m.saving || m.asked || m.state == Alone || now.Sub(m.failed) < retryInterval {
		return 0
	}
	m.saving = true
	return Save
}

// due reports whether the last checkpoint is so old, in publications or in time, that a
// newcomer might soon find nothing to count from.
func (m *Machine) due(now time.Time) bool {
	return m.unsaved >= m.distance || m.saved < m.begun || m.unsaved > 0 && now.Sub(m.savedAt) >= TTL/4
}

// Checkpoint returns what is to be written in place of a revision, 0 for none. Not ok, nothing
// is, and saving has ended: somebody else has written one meanwhile that will do, or the count
// is being looked up.
func (m *Machine) Checkpoint(now time.Time) (s Snapshot, revision uint64, ok bool) {
	last, _ := m.interval.Position()
	needed := m.saved < last && m.due(now)
	if m.asked || !needed {
		m.saving = false
		if !needed {
			m.failed = time.Time{}
		}
		return s, 0, false
	}
	return m.interval.Snapshot(), m.revision, true
}

// Written says that the checkpoint of an offset was, and has that revision.
func (m *Machine) Written(offset, revision uint64, now time.Time) {
	m.note(offset, revision, now)
	m.saving, m.failed = false, time.Time{}
}

// Passed reports whether a later checkpoint than the one of a revision has been heard of.
func (m *Machine) Passed(revision uint64) bool { return m.revision > revision }

// Blocked says that a checkpoint stands in the way of one that was meant to replace a
// revision. Give it to Heard, and ask Checkpoint again.
func (m *Machine) Blocked(meant, revision uint64) {
	if m.revision == meant && revision < meant {
		// Either it was read from a replica that is behind, and the next attempt fails like
		// the last one, or the bucket was made anew.
		m.revision = 0
	}
}

// Vanished says that there is no checkpoint although one stood in the way. Ask Checkpoint
// again.
func (m *Machine) Vanished() { m.revision, m.saved = 0, 0 }

// WriteFailed says that nothing can be written at present.
func (m *Machine) WriteFailed(now time.Time) { m.saving, m.failed = false, now }

// Unsaved says that nothing was written, by no fault of the bucket.
func (m *Machine) Unsaved() { m.saving = false }
