package count

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// saveSpread bounds the random wait before a checkpoint is written. Gateways that count the same wait, so
// that one of them usually writes for all.
const saveSpread = 40 * time.Millisecond

// save writes a checkpoint soon. If too many are being written, it leaves that to the next publication.
func (l *life) save() {
	select {
	case l.cluster.tasks <- struct{}{}:
	default:
		l.m.Unsaved()
		return
	}
	if !l.cluster.Go(func() {
		defer func() { <-l.cluster.tasks }()
		if l.cluster.pause(rand.N(saveSpread)) {
			l.write()
		}
	}) {
		<-l.cluster.tasks
		l.m.Unsaved()
	}
}

// write writes the present count, unless another gateway has written a checkpoint that is recent enough.
func (l *life) write() {
	for range 4 {
		s, revision, ok := l.checkpoint()
		if !ok {
			return
		}
		next, err := l.cluster.write(l.key, s, revision)
		if errors.Is(err, kv.ErrConflict) {
			if err = l.look(revision); err == nil {
				continue
			}
		}
		l.wrote(s.Offset, next, err)
		return
	}
	l.wrote(0, 0, kv.ErrConflict)
}

func (l *life) checkpoint() (s Snapshot, revision uint64, ok bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.over() {
		return s, 0, false
	}
	defer l.act(0)
	return l.m.Checkpoint(l.cluster.Now())
}

func (l *life) wrote(offset, revision uint64, err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	switch {
	case l.over():
		return
	case err == nil:
		l.m.Written(offset, revision, l.cluster.Now())
	case errors.Is(err, kv.ErrConflict), l.cluster.Done.Err() != nil:
		l.m.Unsaved()
	default:
		l.failed("writing a checkpoint", err)
		l.m.WriteFailed(l.cluster.Now())
	}
	l.act(0)
}

// look reads the checkpoint with which our write conflicted. The write was meant to replace revision.
func (l *life) look(revision uint64) error {
	l.lock.Lock()
	passed := l.m.Passed(revision)
	l.lock.Unlock()
	if passed {
		return nil
	}
	ctx, cancel := l.cluster.timeout()
	defer cancel()
	e, err := l.cluster.Bucket.Get(ctx, l.key)
	gone := errors.Is(err, kv.ErrNotFound)
	if err != nil && !gone {
		return err
	}
	l.lock.Lock()
	switch {
	case l.over():
	case gone:
		l.m.Vanished()
	default:
		l.m.Blocked(revision, e.Revision)
	}
	l.lock.Unlock()
	if !gone {
		l.heard(e)
	}
	return nil
}
