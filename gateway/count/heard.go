package count

import "time"

// Heard handles a checkpoint that was written. A checkpoint that contradicts the count here counts as the
// truth.
func (m *Machine) Heard(s Snapshot, revision uint64, now Moment) Effect {
	if m.state == Idle || revision <= m.revision {
		return 0
	}
	m.note(s.Offset, revision, now.Here)
	if m.asked {
		m.pending = &s
		return 0
	}
	return m.compare(s, now)
}

// note records a checkpoint that was written at a time.
func (m *Machine) note(offset, revision uint64, written time.Time) {
	if revision <= m.revision {
		return
	}
	m.revision, m.saved, m.savedAt = revision, offset, written
	m.unsaved = m.marks.after(offset)
}

// compare compares a checkpoint with the count here.
func (m *Machine) compare(s Snapshot, now Moment) Effect {
	iv := m.interval
	if s.Offset == 0 || s.N != int(iv.n) || s.MaxKeys != iv.most {
		return 0
	}
	have := m.marks.at(s.Offset)
	if have == nil {
		return 0
	}
	theirs := m.settings.interval()
	if theirs.Restore(s) != nil || theirs.Hash() == have.hash {
		return 0
	}
	if last, _ := iv.Position(); last == s.Offset && len(s.Values) == 0 && m.silent(now) {
		// The old checkpoint has expired, and the count with it. The next publication clears the count here
		// as well.
		_ = iv.Restore(s)
		have.hash = iv.Hash()
		return 0
	}
	return Contradicted | m.ask(LookUp)
}

// silent reports whether the channel was silent for so long that the next publication starts the count again.
// It uses the clock of this gateway if a publication has arrived here.
func (m *Machine) silent(now Moment) bool {
	if !m.arrived.IsZero() {
		return now.Here.Sub(m.arrived) > idle
	}
	return m.interval.Idle(now.Log)
}

// maxMarks bounds the offsets at which checkpoints of other gateways are compared.
const maxMarks = 256

// mark is the hash of the count after a publication.
type mark struct{ offset, hash uint64 }

// marks are those of the last publications. Once there are maxMarks, next is the index of the oldest one.
// Most channels have few.
type marks struct {
	list []mark
	next int
}

func (k *marks) clear() { k.list, k.next = k.list[:0], 0 }

func (k *marks) add(m mark) {
	if len(k.list) < maxMarks {
		k.list = append(k.list, m)
		return
	}
	k.list[k.next] = m
	k.next = (k.next + 1) % maxMarks
}

// at returns the mark of a publication, or nil.
func (k *marks) at(offset uint64) *mark {
	for i := range k.list {
		if k.list[i].offset == offset {
			return &k.list[i]
		}
	}
	return nil
}

// after returns the number of publications after an offset, as far as there are marks.
func (k *marks) after(offset uint64) (n int) {
	for _, m := range k.list {
		if m.offset > offset {
			n++
		}
	}
	return n
}
