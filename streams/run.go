package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// strand is a channel in one life of the log of an app.
type strand struct{ app, subject, epoch string }

// run is everything that a strand has from an offset up to the last one of its messages, of which there
// are some.
type run struct {
	strand
	from     uint64
	messages []held
	// bytes is about what it takes in memory.
	bytes int
	pace  pace
	// read, used and proven are when it was read, given out, and compared with the log for the last time.
	read, used, proven time.Time
	// spent says that somebody was given its end, so that others are more likely to be asked for.
	spent bool
}

// held is a message of a run, and its size as [stored.size] has it.
type held struct {
	pub  *broker.Publication
	size int
}

// newRun makes a run of messages that have their publications, in order.
func newRun(l strand, from uint64, messages []stored, read time.Time) *run {
	r := &run{strand: l, from: from, messages: make([]held, len(messages)), pace: paceOf(messages), read: read, used: read, proven: read}
	for i := range messages {
		r.messages[i] = held{messages[i].pub, messages[i].size()}
	}
	r.weigh()
	return r
}

func (r *run) weigh() {
	r.bytes = 0
	for i := range r.messages {
		r.bytes += r.messages[i].memory()
	}
}

// memory is about what a message takes in memory.
func (h held) memory() int {
	e := &h.pub.Event
	return messageBytes + e.Bytes() + 64*len(e.Tags) + len(e.Name) + len(e.UserID) + len(e.ConflationKey) + len(e.ExcludeSocket) +
		len(e.MessageID) + len(e.DedupID) + len(e.Node) + len(h.pub.Skipped)
}

func (r *run) last() uint64 { return r.messages[len(r.messages)-1].pub.Offset }

// search is the index of the first message at or above an offset.
func (r *run) search(offset uint64) int {
	i, _ := slices.BinarySearchFunc(r.messages, offset, func(m held, o uint64) int {
		switch {
		case m.pub.Offset < o:
			return -1
		case m.pub.Offset > o:
			return 1
		}
		return 0
	})
	return i
}

// give returns messages of a run as who reads the log has them.
func (r *run) give(from, to int) []stored {
	out := make([]stored, to-from)
	for i, m := range r.messages[from:to] {
		out[i] = stored{place: place{subject: r.subject, offset: m.pub.Offset, time: m.pub.Time}, pub: m.pub, bytes: m.size}
	}
	return out
}

// keep leaves the messages from one index to another, and lets go of what the others had.
func (r *run) keep(from, to int) {
	clear(r.messages[:from])
	clear(r.messages[to:])
	r.messages = r.messages[from:to]
	r.weigh()
}

// runs are those of a strand in order. No two have an offset in common.
type runs []*run

// at is the index of the run that has an offset, or -1.
func (l runs) at(offset uint64) int {
	i, found := slices.BinarySearchFunc(l, offset, func(r *run, o uint64) int {
		switch {
		case r.last() < o:
			return -1
		case r.from > o:
			return 1
		}
		return 0
	})
	if !found {
		return -1
	}
	return i
}

// joined says whether there is nothing between a run and the one behind it.
func (l runs) joined(i int) bool { return i >= 0 && i+1 < len(l) && l[i].last()+1 == l[i+1].from }

// with puts a run among the others, which lose what it has as well.
func (l runs) with(r *run) runs {
	out := make(runs, 0, len(l)+1)
	for _, o := range l {
		first, last := o.from, o.last()
		if last < r.from || first > r.last() {
			out = append(out, o)
			continue
		}
		// The older one knows that there is nothing between its part and the newer one.
		if i := o.search(r.from); i > 0 {
			o.keep(0, i)
			r.from = o.last() + 1
			out = append(out, o)
		} else if i := o.search(r.last() + 1); last > r.last() {
			o.keep(i, len(o.messages))
			o.from = r.last() + 1
			out = append(out, o)
		}
	}
	i, _ := slices.BinarySearchFunc(out, r.from, func(o *run, from uint64) int {
		if o.from < from {
			return -1
		}
		return 1
	})
	return slices.Insert(out, i, r)
}
