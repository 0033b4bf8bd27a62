package hub

import (
	"net"
	"testing"
)

// leaving is a connection of a shard that nobody runs, so that a test has its steps in
// its hand.
func leaving(t *testing.T) (*shard, *Client) {
	r := newRig(t, nil)
	s := newShard(r.hub, 0)
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	c := &Client{hub: r.hub, app: r.app, conn: near, id: "1.1", shard: s}
	s.join(c)
	return s, c
}

// duringWrite flushes an outbox and does something while the write is going on.
func duringWrite(s *shard, c *Client, what func()) {
	c.sock.mu.Lock()
	done := make(chan struct{})
	o := c.out
	go func() {
		defer close(done)
		s.flush(o)
	}()
	for taken := false; !taken; {
		o.mu.Lock()
		taken = o.count == 0
		o.mu.Unlock()
	}
	what()
	c.sock.mu.Unlock()
	<-done
}

func (s *shard) flushDirtied() {
	s.mu.Lock()
	all := s.dirtied
	s.dirtied = nil
	s.mu.Unlock()
	for _, o := range all {
		s.flush(o)
	}
}

// A connection that leaves while its last frame is written must not leave a writer
// behind that uses its record.
func TestTrust11LeavingDuringAWrite(t *testing.T) {
	for _, more := range []bool{false, true} {
		s, c := leaving(t)
		c.send(closeFrameOf(4100, "over"))
		if more {
			c.out.mu.Lock()
			c.out.flags |= closing
			c.out.mu.Unlock()
		}
		s.mu.Lock()
		s.dirtied = nil
		s.mu.Unlock()
		o := c.out
		duringWrite(s, c, func() {
			c.sock.fd = -1
			s.leave(c)
		})
		s.flushDirtied()
		s.hub.writers.Wait()
		if len(s.slab.free) != slabChunk {
			t.Errorf("the record was not given back: %d of %d are free", len(s.slab.free), slabChunk)
		}
		if o.flags != 0 || o.sock != nil {
			t.Errorf("the record is given back with flags %b", o.flags)
		}
	}
}

// A record that a writer uses is not given to another connection, although the shard was
// told of it once more.
func TestTrust11LeavingWhileAWriterWaits(t *testing.T) {
	s, c := leaving(t)
	c.send(closeFrameOf(4100, "over"))
	s.mu.Lock()
	s.dirtied = nil
	s.mu.Unlock()
	duringWrite(s, c, func() { c.send(closeFrameOf(4100, "again")) })
	// The pipe takes nothing, so the writer waits.
	s.leave(c)
	s.flushDirtied()
	s.slabMu.Lock()
	free := len(s.slab.free)
	s.slabMu.Unlock()
	if free != slabChunk-1 {
		t.Errorf("%d records are free while one is in use", free)
	}
	c.sock.close()
	s.hub.writers.Wait()
	s.flushDirtied()
	if len(s.slab.free) != slabChunk {
		t.Errorf("the record was not given back: %d of %d are free", len(s.slab.free), slabChunk)
	}
}
