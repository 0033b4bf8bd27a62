package fault

import (
	"net"
	"sync"
)

// Gate holds back what comes in by connections, as a server does that is too busy to answer.
// The zero value is open. It is safe for use by many goroutines.
type Gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens again; nil while it is open
}

// Shut closes the gate, and returns what opens it again, which may be called twice.
func (g *Gate) Shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.shut = shut
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = nil
		close(shut)
	})
}

// Wrap makes a connection read through the gate.
func (g *Gate) Wrap(c net.Conn) net.Conn { return &gated{c, g, make(chan struct{}), sync.Once{}} }

type gated struct {
	net.Conn
	gate  *Gate
	ended chan struct{}
	once  sync.Once
}

func (c *gated) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate.mu.Lock()
	shut := c.gate.shut
	c.gate.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-c.ended:
		}
	}
	return n, err
}

func (c *gated) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}
