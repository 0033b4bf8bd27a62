package streams

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// strand is a channel in one epoch.
type strand struct{ app, subject, epoch string }

// run is the complete content of a strand from offset from to the last of its messages. It has at least one message.
type run struct {
	strand
	from     uint64
	messages []held
	// bytes is about the memory of the run.
	bytes int
	pace  pace
	// read is when it was read, used when it was last used, and proven when it was last compared with the log.
	read, used, proven time.Time
	// spent says that a reader has got its last messages, so other runs are more likely to be needed.
	spent bool
}

// held is a message of a run, and its size as of [stored.size].
type held struct {
	pub  *broker.Publication
	size int
}

// newRun returns a run of messages in order, which must have their publications.
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

// memory returns about the memory of a message, in bytes.
func (h held) memory() int {
	e := &h.pub.Event
	return messageBytes + e.Bytes() + 64*len(e.Tags) + len(e.Name) + len(e.UserID) + len(e.ConflationKey) + len(e.ExcludeSocket) +
		len(e.MessageID) + len(e.DedupID) + len(e.Node) + len(h.pub.Skipped)
}

func (r *run) last() uint64 { return r.messages[len(r.messages)-1].pub.Offset }

// search returns the index of the first message at or above an offset.
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

// give returns messages of a run in the form in which they are read from the log.
func (r *run) give(from, to int) []stored {
	out := make([]stored, to-from)
	for i, m := range r.messages[from:to] {
		out[i] = stored{place: place{subject: r.subject, offset: m.pub.Offset, time: m.pub.Time}, pub: m.pub, bytes: m.size}
	}
	return out
}

// keep keeps the messages between two indexes, and releases the memory of the others.
func (r *run) keep(from, to int) {
	clear(r.messages[:from])
	clear(r.messages[to:])
	r.messages = r.messages[from:to]
	r.weigh()
}

// runs are the runs of a strand, in order. They do not overlap.
type runs []*run

// at returns the index of the run that covers an offset, or -1.
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

// joined reports whether run i and the next one are adjacent.
func (l runs) joined(i int) bool { return i >= 0 && i+1 < len(l) && l[i].last()+1 == l[i+1].from }

// with inserts a run. Older runs lose the part that it covers.
func (l runs) with(r *run) runs {
	out := make(runs, 0, len(l)+1)
	for _, o := range l {
		first, last := o.from, o.last()
		if last < r.from || first > r.last() {
			out = append(out, o)
			continue
		}
		// The older run shows that there are no messages between its rest and the new one.
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
