package hub

import (
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
)

// line is what goes to the subscribers of one channel.
type line struct {
	hall      *hall
	app, name string
	// caches: the last event is sent to new subscribers.
	caches bool
	// conflates: sockets that are behind skip to the newest publication of each conflation
	// value. Without values there is nothing to go by.
	conflates bool
	// serials are in the frames of V2.
	serials bool
	// delta says what is compressed, and how.
	delta app.Delta
	// keyed: publications have conflation values. path is where they stand, also if nothing
	// is compressed.
	keyed bool
	path  delta.Path
	// past is nil for channels of which nobody may get the past.
	past source
	// report is told what was sent of one publication in one shard.
	report func(*tally)
	shards []subscribers
}

// source has the past of a channel.
type source interface {
	// next appends what a way comes to next, up to most publications, and returns the place
	// that they reach. It reports false when the log must be read; the way is woken then.
	next(dst []*event, p *past, most int) (items []*event, reached uint64, ok bool)
	// leave forgets a way that has ended.
	leave(p *past)
}

// post gives something to the shards that have subscribers.
func (l *line) post(p prepared) {
	for i := range l.shards {
		if s := &l.shards[i]; s.wants(p) {
			l.hall.shards[i].post(job{to: s, p: p})
		}
	}
}
