package lives

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/kv"
)

const (
	// syncTimeout bounds one reading of the records, and syncPause is the time after one that failed.
	syncTimeout = 10 * time.Second
	syncPause   = time.Second
)

// watcher receives the writes of the table.
type watcher struct{ log *Log }

// Changed implements [kv.Watcher].
func (w watcher) Changed(rec kv.Record) {
	p, ok := placeOf(rec.Key)
	r, whole := parse(rec.Value)
	if !ok || !whole {
		return
	}
	l := w.log
	l.mu.Lock()
	if r.newer(l.records[p]) && r.newer(l.pending[p]) {
		l.pending[p] = r
	}
	l.mu.Unlock()
	poke(l.heard)
}

// Lost implements [kv.Watcher].
func (w watcher) Lost() { poke(w.log.again) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// follow applies the records that were heard, and reads the table again when writes may have been missed,
// until ctx ends.
func (l *Log) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.heard:
			l.mu.Lock()
			pending := l.pending
			l.pending = map[place]*record{}
			l.mu.Unlock()
			for p, r := range pending {
				l.learn(p, r)
			}
		case <-l.again:
			once, cancel := context.WithTimeout(ctx, syncTimeout)
			err := l.sync(once)
			cancel()
			if err == nil || ctx.Err() != nil {
				continue
			}
			l.logger.Debug("reading the lives of channels failed; it is tried again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(syncPause):
				poke(l.again)
			}
		}
	}
}

// learn applies a record, and tells the followers of the channel.
func (l *Log) learn(p place, r *record) {
	l.mu.Lock()
	if !r.newer(l.records[p]) {
		l.mu.Unlock()
		return
	}
	if l.records[p] == nil {
		l.byApp[p.app]++
	}
	l.records[p] = r
	l.some.Store(true)
	// This is a copy, because a follower that leaves changes the slice.
	told := append([]*follower(nil), l.attached[p]...)
	l.mu.Unlock()
	for _, f := range told {
		f.begin(r)
	}
}

// sync reads all records, and writes those again that the table has lost.
func (l *Log) sync(ctx context.Context) error {
	all, err := l.table.List(ctx, pattern)
	if err != nil {
		return err
	}
	type stored struct {
		*record
		revision uint64
	}
	found := map[place]stored{}
	for _, rec := range all {
		p, ok := placeOf(rec.Key)
		if !ok {
			continue
		}
		r, whole := parse(rec.Value)
		if !whole {
			found[p] = stored{revision: rec.Revision}
			continue
		}
		found[p] = stored{r, rec.Revision}
		l.learn(p, r)
	}
	l.mu.Lock()
	lacking := map[place]*record{}
	for p, r := range l.records {
		if r.newer(found[p].record) {
			lacking[p] = r
		}
	}
	l.mu.Unlock()
	again, one := 0, place{}
	defer func() {
		if again > 0 {
			l.logger.Warn("the table had lost what is known of channels that were purged or reset; it is written again", "channels", again, "app", one.app, "channel", one.channel)
		}
	}()
	for p, r := range lacking {
		_, err := l.table.Swap(ctx, p.key(), r.encode(), 0, found[p].revision)
		switch {
		case errors.Is(err, kv.ErrConflict): // Another gateway has written it, or a newer one.
		case err != nil:
			return fmt.Errorf("writing the life of a channel again: %w", err)
		default:
			again, one = again+1, p
		}
	}
	return nil
}
