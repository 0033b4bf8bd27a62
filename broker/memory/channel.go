package memory

import (
	"sort"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// channel holds the retained publications of one channel, oldest first, and its attachments. The lock of its
// app guards it.
type channel struct {
	name string
	log  ring[*entry]
	// evicted is the highest offset that retention removed: a reader at or above it misses nothing.
	evicted uint64
	// lost is when the last removed publication had been stored, zero if none was removed.
	lost        time.Time
	attachments []*attachment
}

func (c *channel) newestOffset() uint64 {
	if n := c.log.len(); n > 0 {
		return c.log.at(n - 1).pub.Offset
	}
	return 0
}

// above returns the index of the first entry with an offset above x.
func (c *channel) above(x uint64) int {
	return sort.Search(c.log.len(), func(i int) bool { return c.log.at(i).pub.Offset > x })
}

// since returns the index of the first entry that is not older than t.
func (c *channel) since(t time.Time) int {
	return sort.Search(c.log.len(), func(i int) bool { return !c.log.at(i).pub.Time.Before(t) })
}

// younger returns the index of the first entry that is younger than t.
func (c *channel) younger(t time.Time) int {
	return sort.Search(c.log.len(), func(i int) bool { return c.log.at(i).pub.Time.After(t) })
}

func (c *channel) retained(epoch string) broker.Retained {
	r := broker.Retained{Epoch: epoch}
	if n := c.log.len(); n > 0 {
		oldest, newest := c.log.at(0), c.log.at(n-1)
		r.Oldest, r.OldestTime = oldest.pub.Offset, oldest.pub.Time
		r.Newest, r.NewestTime = newest.pub.Offset, newest.pub.Time
		r.Messages = uint64(n)
	}
	return r
}
