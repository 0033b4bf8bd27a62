package fault

import (
	"net"
	"sync"
)

// Gate delays what is read from connections, like a server that is too busy to answer. The zero value is
// open. Safe for concurrent use.
type Gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens again; nil while it is open
}

// Shut closes the gate and returns the function that opens it again, which may be called twice.
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

// Wrap returns a connection whose reads wait for the gate.
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
