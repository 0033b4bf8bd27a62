package count

import "time"

// save requests that a checkpoint is written soon.
func (m *Machine) save(now time.Time) Effect {
	if m.saving || m.asked || m.state == Alone || now.Sub(m.failed) < retryInterval {
		return 0
	}
	m.saving = true
	return Save
}

// due reports whether the last checkpoint is so old, in publications or in time, that a joining gateway might
// soon find no beginning.
func (m *Machine) due(now time.Time) bool {
	return m.unsaved >= m.distance || m.saved < m.begun || m.unsaved > 0 && now.Sub(m.savedAt) >= TTL/4
}

// Checkpoint returns what must be written to replace a revision, 0 for none. If ok is false, nothing must be
// written and saving has ended: another gateway has written a checkpoint that is recent enough, or the count
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

// Written notes that the checkpoint of an offset was written with a revision.
func (m *Machine) Written(offset, revision uint64, now time.Time) {
	m.note(offset, revision, now)
	m.saving, m.failed = false, time.Time{}
}

// Passed reports whether a later checkpoint than that of a revision is known.
func (m *Machine) Passed(revision uint64) bool { return m.revision > revision }

// Blocked notes that the checkpoint meant to replace revision meant conflicts with one of another revision.
// Then give that one to Heard, and call Checkpoint again.
func (m *Machine) Blocked(meant, revision uint64) {
	if m.revision == meant && revision < meant {
		// Either it was read from a replica that is behind, and the next attempt fails like this one, or the
		// bucket was created anew.
		m.revision = 0
	}
}

// Vanished notes that there is no checkpoint although the write conflicted. Then call Checkpoint again.
func (m *Machine) Vanished() { m.revision, m.saved = 0, 0 }

// WriteFailed notes that checkpoints cannot be written at present.
func (m *Machine) WriteFailed(now time.Time) { m.saving, m.failed = false, now }

// Unsaved notes that nothing was written, for a reason other than a failure of the bucket.
func (m *Machine) Unsaved() { m.saving = false }
