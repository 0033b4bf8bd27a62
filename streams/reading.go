package streams

import "github.com/sluicehq/sluice/broker/follow"

// reading is what a page of the log means for a channel.
type reading struct {
	// evicted is up to where messages are missing before those of the page, 0 if none are.
	evicted uint64
	// messages of the page are to be delivered.
	messages []stored
	found    follow.Found
}

// read says what a page means that begins at the message that was seen last, and is read up to
// target. anchored says that others were removed if it does not begin there, continues that the message
// which follows the last one is held. It changes nothing.
func (t *tracker) read(page []stored, anchored bool, target uint64, continues bool) reading {
	r := reading{found: follow.Nothing}
	reached := t.last
	// Between two offsets in a row there is nothing.
	if anchored && len(page) > 0 && page[0].offset > t.last+1 {
		if continues {
			return reading{found: follow.Complete}
		}
		r.evicted = page[0].offset - 1
		reached, r.found = r.evicted, follow.Progress
	}
	for i := range page {
		if page[i].offset > reached {
			r.messages = page[i:]
			reached, r.found = page[len(page)-1].offset, follow.Progress
			break
		}
	}
	ended := len(page) == 0 || page[len(page)-1].pending == 0
	if reached >= target || target == toTheEnd && ended && (len(page) > 0 || t.last == 0) {
		r.found = follow.Complete
	}
	return r
}

// anchored says whether the absence of a message at the last place proves that one was removed. At
// the origin the channel may have had none.
func (t *tracker) anchored(origin uint64) bool {
	return t.last > origin || t.last > 0 && t.last == t.seen.offset
}

// misses says whether a page that begins at the message that was seen last does not hold it.
func (t *tracker) misses(page []stored) bool {
	return len(page) > 0 && t.seen.offset > 0 && (page[0].offset != t.seen.offset || !page[0].time.Equal(t.seen.time))
}
