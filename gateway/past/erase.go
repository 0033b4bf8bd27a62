package past

import "github.com/sluicehq/sluice/gateway/app"

// High is the place of the newest publication that came here.
func (r *Recent) High() uint64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog.High()
}

// Erase forgets everything, because the log has removed a part of it. Its life has this name from
// now on. What comes next follows what came last, and what somebody began to read before is not
// taken.
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

// Erasures counts how often something was erased. What was read of the log since it was so many is
// of now. A channel without a past has none.
func (r *Recent) Erasures() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.erasures
}

// rules are what the app has for the channel.
type rules struct {
	reading  app.Reading
	snapshot app.Snapshot
}

func (r *Recent) rules() rules {
	now := r.app.Now()
	return rules{now.Readings.Of(r.line.Name), now.Snapshot(r.line.Name)}
}

// Review forgets the snapshot if the app has other bounds for the channel than it was made under. From
// when subscribers get snapshots, what is published is kept.
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

// Reform forgets the snapshot, because other conflation values than before count.
func (r *Recent) Reform() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}
