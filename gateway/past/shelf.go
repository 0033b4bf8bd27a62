package past

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/backlog"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// idleFor is how long an unused snapshot is kept, unless every subscriber of the channel gets one.
const idleFor = 30 * time.Second

// errCramped: there is no room for a snapshot with what is published meanwhile.
var errCramped = errors.New("snapshots have no more room (connection_recovery.max_total_bytes)")

// shelf bounds what the snapshots of all channels hold, including those in preparation. Half of
// [Library.Most] is divided among the apps, and the other half is for apps that need more. A snapshot can be
// made again, so an unused one is dropped to make room.
type shelf struct {
	mu rank.Mutex[rank.Shelf]
	// byApp is what each app holds, all the sum of it, and beyond the sum of what exceeds the apps' own
	// parts. among is the number of apps with which beyond was computed.
	byApp              map[string]int64
	all, beyond, among int64
	// held has the channels with a snapshot, with a number that rises with each use.
	held map[*Recent]uint64
	uses uint64
}

// SnapshotBytes returns what the snapshots of all channels hold.
func (in *Library) SnapshotBytes() int64 {
	in.shelf.mu.Lock()
	defer in.shelf.mu.Unlock()
	return in.shelf.all
}

// due returns what each app may always hold. The caller holds the lock.
func (in *Library) due() int64 {
	s, n := &in.shelf, int64(1)
	if in.Apps != nil {
		n = max(n, int64(in.Apps()))
	}
	due := in.Most / (2 * n)
	if n != s.among {
		s.among, s.beyond = n, 0
		for _, bytes := range s.byApp {
			s.beyond += max(bytes-due, 0)
		}
	}
	return due
}

// take changes what an app holds by bytes, which may be negative. It reports false if there is no room.
func (in *Library) take(app string, bytes int) bool {
	s := &in.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	due := in.due()
	was := s.byApp[app]
	is := was + int64(bytes)
	more := max(is-due, 0) - max(was-due, 0)
	if more > 0 && s.beyond+more > in.Most-due*s.among {
		return false
	}
	if s.byApp == nil {
		s.byApp = map[string]int64{}
	}
	s.all, s.beyond = s.all+int64(bytes), s.beyond+more
	if s.byApp[app] = is; is == 0 {
		delete(s.byApp, app)
	}
	return true
}

// keep notes whether a channel has a snapshot.
func (in *Library) keep(r *Recent, there bool) {
	s := &in.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if !there {
		delete(s.held, r)
		return
	}
	if s.held == nil {
		s.held = map[*Recent]uint64{}
	}
	s.uses++
	s.held[r] = s.uses
}

// used notes that a subscription begins with the snapshot.
func (in *Library) used(r *Recent) {
	s := &in.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[r]; ok {
		s.uses++
		s.held[r] = s.uses
	}
}

// others returns the channels whose snapshots may be dropped for an app, the longest unused first: its own,
// and those of apps that hold more than their part.
func (in *Library) others(app string) []*Recent {
	s := &in.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	due := in.due()
	uses := maps.Clone(s.held)
	maps.DeleteFunc(uses, func(r *Recent, _ uint64) bool { return r.app.ID != app && s.byApp[r.app.ID] <= due })
	return slices.SortedFunc(maps.Keys(uses), func(a, b *Recent) int { return cmp.Compare(uses[a], uses[b]) })
}

// makeRoom is take for a channel. If there is no room, it drops unused snapshots of other channels. The
// caller holds no lock.
func (in *Library) makeRoom(of *Recent, bytes int) bool {
	app := of.app.ID
	if in.take(app, bytes) {
		return true
	}
	for _, r := range in.others(app) {
		if r != of && r.giveWay() && in.take(app, bytes) {
			return true
		}
	}
	return false
}

// giveWay drops an unused snapshot, and reports whether it did.
func (r *Recent) giveWay() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest.fold == nil || r.latest.busy() {
		return false
	}
	r.forget()
	return true
}

// fits adds what was read for a snapshot, as far as there is room, and reports whether all of it was added.
func (r *Recent) fits(found *finding, fresh []backlog.Old[*fanout.Event]) bool {
	bytes := 0
	for _, o := range fresh {
		bytes += o.Item.Size()
	}
	if found.room+bytes <= snapshotBytes && r.library.makeRoom(r, bytes) {
		found.room += bytes
		found.past = append(found.past, fresh...)
		return true
	}
	for _, o := range fresh {
		size := o.Item.Size()
		if found.room+size > snapshotBytes {
			return false
		}
		if !r.library.take(r.app.ID, size) {
			found.cramped = true
			return false
		}
		found.room += size
		found.past = append(found.past, o)
	}
	return true
}

// squeeze is called when there is no room for a new publication. It drops values that were published before
// any present reader of the snapshot became live. If that is not enough, it drops the snapshot, and its
// readers continue with live publications. The caller holds the lock.
func (r *Recent) squeeze() {
	l := &r.latest
	if l.busy() && l.fold.Shrink(l.bytes, l.since) {
		l.short = true
		return
	}
	for p := range l.walking {
		p.Failed.Store(&pusher.ResumeFailure{
			Channel: r.line.Name, Code: pusher.PersistenceUnavailable, Reason: errCramped.Error(),
			Expected: r.epoch, Current: r.epoch, Newest: r.backlog.High(),
		})
	}
	l.given++
	r.forget()
}

// letGo drops a snapshot that was unused for a while. A snapshot for every subscriber is kept, unless it
// lacks values for which there may be room now. The caller holds the lock.
func (r *Recent) letGo() {
	l := &r.latest
	if l.fold == nil || l.busy() || time.Since(l.idle) < idleFor {
		return
	}
	if l.short || !r.app.Now().Snapshot(r.line.Name).On {
		r.forget()
	}
}

// busy reports whether a way waits for the snapshot or goes through it.
func (l *latest) busy() bool { return len(l.waiting) > 0 || len(l.walking) > 0 }

// joins notes the offset at which the subscription of a way became live.
func (l *latest) joins(p *fanout.Way) {
	if l.busy() {
		l.since = min(l.since, p.Head)
	} else {
		l.since = p.Head
	}
}

// walks notes that a way goes through the snapshot. The caller holds the lock.
func (r *Recent) walks(p *fanout.Way) {
	l := &r.latest
	if _, ok := l.walking[p]; ok {
		return
	}
	if l.walking == nil {
		l.walking = map[*fanout.Way]struct{}{}
	}
	l.walking[p] = struct{}{}
	r.library.used(r)
}

// leaves notes that a way does not need the snapshot any more.
func (l *latest) leaves(p *fanout.Way) {
	delete(l.waiting, p)
	if _, ok := l.walking[p]; ok {
		delete(l.walking, p)
		l.idle = time.Now()
	}
}
