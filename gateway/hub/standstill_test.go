//go:build linux

package hub

import (
	"net"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/past"
)

// stalled is a listener whose connections are not read while the lock is held: received bytes stay in the
// kernel, as for a suspended process.
type stalled struct {
	net.Listener
	lock *sync.RWMutex
}

func (l stalled) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stalledConn{c.(*net.TCPConn), l.lock}, nil
}

type stalledConn struct {
	*net.TCPConn
	lock *sync.RWMutex
}

func (c stalledConn) Read(p []byte) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peeked [1]byte
	_ = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), peeked[:], syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	})
	c.lock.RLock()
	defer c.lock.RUnlock()
	return c.TCPConn.Read(p)
}

// TestTime01WhoStoodStillReadsFirst: a process that was suspended finds that the time in which a client may
// resume is over. A resume that the client sent meanwhile still counts.
func TestTime01WhoStoodStillReadsFirst(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	r.server.Close()
	var lock sync.RWMutex
	r.server = httptest.NewUnstartedServer(r.hub)
	r.server.Listener = stalled{r.server.Listener, &lock}
	r.server.Start()
	at := r.publishMany("orders", 0, 4)
	var p *peer
	var c *Client
	eventually(t, "the process stands still while a subscription is held", func() bool {
		var id string
		p, id = r.second()
		p.join("orders", "")
		c = r.hub.find(id)
		c.handling(true)
		lock.Lock()
		c.handling(false)
		c.recovery.mu.Lock()
		held := c.recovery.held.Len() == 1
		c.recovery.mu.Unlock()
		if !held {
			lock.Unlock()
		}
		return held
	})
	p.from("orders", at.Epoch, at.Offset-4, "")
	r.publish("orders", "e", "5")
	eventually(t, "the resume is with the kernel", func() bool { return c.sock.Unread() })
	c.patient(time.Now().Add(10 * past.HoldTime))
	lock.Unlock()
	var got []string
	for range 6 {
		// The last event may come while the resume is being answered.
		if m := p.next(); m.Event != "sockudo:resume_success" {
			got = append(got, m.str())
		}
	}
	if diff := cmp.Diff(numbers(1, 5), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
