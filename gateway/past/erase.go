package past

// High is the place of the newest publication that came here.
func (r *Recent) High() uint64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog.High()
}

// Erase forgets everything, because nothing up to a place exists any more in the log, whose life
// has this name from now on. What comes next follows what came last.
func (r *Recent) Erase(epoch string, through uint64) {
	if r == nil {
		return
	}
	high := r.High()
	r.Begin(epoch, high)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erased = min(through, high)
}

// Reform forgets the snapshot, because other conflation values than before count.
func (r *Recent) Reform() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}

// erasedSince says that what was read from after a place on may be of before something was
// erased. The caller holds the lock.
func (r *Recent) erasedSince(place uint64) bool { return place < r.erased }
