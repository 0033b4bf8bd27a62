package past

import "github.com/sluicehq/sluice/gateway/app"

// High returns the offset of the newest publication that arrived here.
func (r *Recent) High() uint64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog.High()
}

// Erase forgets everything, because the log has removed a part of it. epoch is that of the channel from now
// on. The next publication follows the last one. Results of readings that began before are discarded.
func (r *Recent) Erase(epoch string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.erasures++
	high := r.backlog.High()
	r.mu.Unlock()
	r.Begin(epoch, high)
}

// Erasures counts the calls of Erase. If the number has not changed since a reading of the log began, the
// result is still valid. It is 0 for a channel without a past.
func (r *Recent) Erasures() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.erasures
}

// rules are the app's settings for the channel.
type rules struct {
	reading  app.Reading
	snapshot app.Snapshot
}

func (r *Recent) rules() rules {
	now := r.app.Now()
	return rules{now.Readings.Of(r.line.Name), now.Snapshot(r.line.Name)}
}

// Review forgets the snapshot if the app's settings for the channel have changed. Once subscribers get
// snapshots, publications are kept.
func (r *Recent) Review() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.rules(); now != r.under {
		r.under = now
		r.asleep = r.asleep && !now.snapshot.On
		r.forget()
	}
}

// Reform forgets the snapshot, because the conflation values have changed.
func (r *Recent) Reform() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}
