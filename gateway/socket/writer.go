package socket

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
)

// gatherBytes is the largest number of bytes that are gathered for one write, unless a single frame is
// larger.
const gatherBytes = 64 << 10

// Loop is the goroutine that a [Writer] belongs to.
type Loop interface {
	// Mark tells the loop that an outbox must be flushed. Any goroutine may call it.
	Mark(*Outbox)
	// CatchUp is called during a flush when the outbox is empty. Frames that Offer has refused may be offered
	// again.
	CatchUp(*Outbox)
	// Forget is called during a flush, before the record is used by another socket.
	Forget(*Outbox)
}

// Writer writes the outboxes of its sockets. Flush and Count belong to the goroutine of its loop.
type Writer struct {
	group *Group
	loop  Loop
	slab

	// batch are the frames being written, size their bytes, and gather is scratch memory.
	batch  []*Frame
	size   int
	gather []byte
	// frames and writes have not been added to the totals yet.
	frames, writes uint64

	total struct{ frames, writes, blocks, overflows atomic.Uint64 }
}

// Stats are totals since the writer was created.
type Stats struct {
	// Frames and Writes count what was handed to the kernel. Their ratio shows how many frames are written
	// together.
	Frames, Writes uint64
	// Blocked counts the times that the kernel took no more, Overflowed the sockets that were closed because
	// they did not read.
	Blocked, Overflowed uint64
}

// NewWriter adds a writer to the group.
func (g *Group) NewWriter(loop Loop) *Writer {
	w := &Writer{group: g, loop: loop, gather: make([]byte, 0, gatherBytes)}
	g.mu.Lock()
	g.writers = append(g.writers, w)
	g.mu.Unlock()
	return w
}

// Open returns a socket for a connection, which it takes over.
func (w *Writer) Open(conn net.Conn, kind *Kind) *Socket {
	s := &Socket{conn: conn, writer: w, kind: kind, out: w.get(), fd: -1, below: carrierOf(conn)}
	if s.below != nil {
		s.below.take()
	} else {
		s.fd = descriptor(conn)
		_, s.patient = conn.(Patient)
	}
	s.Alive()
	s.out.mu.Lock()
	s.out.sock, s.out.kind = s, kind
	s.out.mu.Unlock()
	return s
}

// Stats returns the totals. Safe for concurrent use.
func (w *Writer) Stats() Stats {
	return Stats{
		Frames: w.total.frames.Load(), Writes: w.total.writes.Load(),
		Blocked: w.total.blocks.Load(), Overflowed: w.total.overflows.Load(),
	}
}

// Queued counts the frames and bytes that wait for the sockets.
func (w *Writer) Queued() (frames, bytes int) {
	w.each(func(o *Outbox) {
		frames += int(o.count)
		bytes += o.queued
	})
	return frames, bytes
}

// Count adds what was written to the totals.
func (w *Writer) Count() {
	w.total.frames.Add(w.frames)
	w.total.writes.Add(w.writes)
	w.frames, w.writes = 0, 0
}

// Flush writes what an outbox holds. If the kernel takes no more, it leaves the socket to a goroutine of its
// own.
func (w *Writer) Flush(o *Outbox) {
	for {
		next, through := w.begin(o)
		switch next {
		case nothing:
			return
		case catchUp:
			w.loop.CatchUp(o)
			continue
		case release:
			w.loop.Forget(o)
			w.put(o)
			return
		case finish:
			o.sock.finish()
			return
		}
		p := w.gathered()
		left, err := o.sock.tryWrite(p)
		w.frames += uint64(len(w.batch))
		w.writes++
		clear(w.batch)
		if err != nil && !w.failed(o, p, left, err, through) || through {
			return
		}
	}
}

// step is the next thing to do for an outbox.
type step uint8

const (
	nothing step = iota
	write
	catchUp
	release
	finish
)

// begin decides the next step for an outbox, and takes the batch to be written. through says that the outbox
// is empty and needs nothing else: a later push tells the loop again, so a socket that keeps up need not be
// locked a second time.
func (w *Writer) begin(o *Outbox) (next step, through bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.flags&blocked != 0:
		// The goroutine of the blocked socket uses the record, and gives it back.
		o.flags &^= dirty
		return nothing, false
	case o.flags&retired != 0:
		return release, false
	case o.flags&dead != 0:
		o.flags &^= dirty
		return nothing, false
	case o.count > 0:
		w.batch, w.size = o.take(w.batch[:0], gatherBytes)
		through = o.count == 0 && o.flags&(lagging|closing) == 0
		if through {
			o.flags &^= dirty
		}
		return write, through
	case o.flags&(lagging|closing) == lagging:
		o.flags &^= lagging
		return catchUp, false
	}
	o.flags &^= dirty
	if o.flags&closing != 0 {
		return finish, false
	}
	return nothing, false
}

// failed handles a write of p of which left bytes were not taken. It reports whether there is more to do for
// the outbox.
func (w *Writer) failed(o *Outbox, p []byte, left int, err error, through bool) bool {
	o.mu.Lock()
	if o.flags&retired != 0 {
		// The connection has ended during the write. If its retire found dirty cleared (through), it has told
		// the loop, which then releases the record.
		o.mu.Unlock()
		return !through
	}
	if !through {
		o.flags &^= dirty
	}
	if err != errWouldBlock {
		o.flags |= dead
		o.clear()
		o.mu.Unlock()
		o.sock.Abort()
		return false
	}
	o.block(left, w.group.opt.Now().UnixNano())
	o.mu.Unlock()
	var rest []byte
	if o.sock.below == nil {
		rest = append(rest, p[len(p)-left:]...)
	}
	if !o.sock.patient {
		w.total.blocks.Add(1)
	}
	w.group.blocked.Add(1)
	go w.unblock(o, rest, left)
	return false
}

// gathered returns the bytes of the batch: the shared buffer itself if it is a single frame, otherwise a copy
// in scratch memory. Below 64 KB, copying is cheaper than writev, and it needs no allocation.
func (w *Writer) gathered() []byte {
	if len(w.batch) == 1 {
		return w.batch[0].b
	}
	buf := w.gather[:0]
	if cap(buf) < w.size {
		buf = make([]byte, 0, w.size)
	}
	for _, f := range w.batch {
		buf = append(buf, f.b...)
	}
	w.gather = buf
	return buf
}

// unblock writes for one slow socket until its outbox is empty, and then gives the socket back to the loop.
// Only slow sockets need this goroutine. The deadline of each write guarantees that it ends. rest is what is
// written first, unless that waits below TLS; left is its size.
func (w *Writer) unblock(o *Outbox, rest []byte, left int) {
	defer w.group.blocked.Done()
	// Once the flags are cleared, the outbox may belong to another connection, so o.sock must not be read any
	// more.
	sock := o.sock
	var batch []*Frame
	for {
		err := sock.writeSlowly(rest)
		o.mu.Lock()
		o.hold(-left)
		if err != nil {
			w.lost(o, sock, err)
			return
		}
		if o.count == 0 {
			w.unblocked(o, sock)
			return
		}
		batch, left = o.take(batch[:0], gatherBytes)
		o.hold(left)
		o.mu.Unlock()
		rest = rest[:0]
		for _, f := range batch {
			rest = append(rest, f.b...)
		}
		clear(batch)
		w.total.frames.Add(uint64(len(batch)))
		w.total.writes.Add(1)
	}
}

// lost ends a blocked socket whose write failed. It unlocks the outbox.
func (w *Writer) lost(o *Outbox, sock *Socket, err error) {
	o.clear()
	o.flags |= dead
	o.flags &^= blocked
	isRetired, wasOpen := o.flags&retired != 0, o.flags&closing == 0
	if isRetired {
		o.flags |= dirty
	}
	o.mu.Unlock()
	if isRetired {
		w.loop.Mark(o)
		return
	}
	w.total.overflows.Add(1)
	if wasOpen && errors.Is(err, os.ErrDeadlineExceeded) {
		w.group.closed[ByTime].Add(1)
	}
	sock.Abort()
}

// unblocked gives a socket that has taken everything back to the loop. It unlocks the outbox.
func (w *Writer) unblocked(o *Outbox, sock *Socket) {
	o.flags &^= blocked
	ends, goesOn := o.flags&closing != 0, o.flags&(retired|lagging) != 0
	if goesOn {
		o.flags |= dirty
	}
	o.mu.Unlock()
	if goesOn {
		w.loop.Mark(o)
	} else if ends {
		sock.finish()
	}
}
