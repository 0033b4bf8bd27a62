package fault

import (
	"net"
	"sync"
	"time"
)

// Mode is how a [Proxy] treats connections.
type Mode int

const (
	// Pass forwards all data.
	Pass Mode = iota
	// Cut closes connections and refuses new ones.
	Cut
	// Reset is like Cut, with an RST.
	Reset
	// Stall keeps connections open but forwards nothing, and does not answer new ones.
	Stall
	// HalfOpen forwards data from clients but not from servers.
	HalfOpen
)

// Proxy forwards TCP connections to one address.
type Proxy struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu      sync.Mutex
	mode    Mode
	delay   time.Duration
	changed chan struct{} // closed and replaced when mode changes
	open    map[net.Conn]bool
	closed  bool
}

// NewProxy listens on a free port of this machine and forwards to an address.
func NewProxy(to string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, to: to, changed: make(chan struct{}), open: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the address on which the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the mode from now on.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	var ends []net.Conn
	if m == Cut || m == Reset {
		for c := range p.open {
			ends = append(ends, c)
		}
	}
	p.mu.Unlock()
	for _, c := range ends {
		end(c, m)
	}
}

// Delay delays each piece of data by d.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Close closes the listener and all connections, and waits for all goroutines.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Set(Cut)
	p.running.Wait()
}

func end(c net.Conn, m Mode) {
	if tcp, ok := c.(*net.TCPConn); ok && m == Reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) state() (Mode, time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.delay, p.changed
}

// keep registers a connection; it reports false if the connection must be closed at once.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == Cut || p.mode == Reset {
		return false
	}
	p.open[c] = true
	return true
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		mode, _, _ := p.state()
		if !p.keep(in) {
			end(in, mode)
			continue
		}
		p.running.Go(func() { p.serve(in) })
	}
}

func (p *Proxy) serve(in net.Conn) {
	defer p.forget(in)
	defer in.Close()
	if !p.wait(true) {
		return
	}
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer p.forget(out)
	defer out.Close()
	if !p.keep(out) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in, true) })
	both.Go(func() { p.copy(in, out, false) })
	both.Wait()
}

// wait returns true when data may be forwarded, and false when the connection has ended.
func (p *Proxy) wait(toServer bool) bool {
	for {
		mode, _, changed := p.state()
		switch {
		case mode == Cut || mode == Reset:
			return false
		case mode == Pass || mode == HalfOpen && toServer:
			return true
		}
		<-changed
	}
}

// copy forwards data in one direction.
func (p *Proxy) copy(to, from net.Conn, toServer bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.wait(toServer) {
				return
			}
			if _, delay, changed := p.state(); delay > 0 {
				select {
				case <-time.After(delay):
				case <-changed:
				}
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
