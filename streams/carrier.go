package streams

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rawio"
)

// carrier is what the library reads from and writes to. When the library reads on, all messages that
// it has read lie in the channels of their subscriptions. Those who wait for them learn of it
// there: the goroutine that reads gives them what came, and wakes none of theirs.
type carrier struct {
	net.Conn
	link *link
	// greeting is set while the library connects. It has a lock then, and nothing came.
	greeting atomic.Bool
	// plain is set once the library has spoken the protocol of NATS here: without TLS, and not in
	// frames of a WebSocket.
	plain atomic.Bool

	mu   sync.Mutex
	text []byte // of the message that is being written
}

// Read implements [net.Conn].
func (w *carrier) Read(p []byte) (int, error) {
	if arrived := w.link.arrived.Load(); arrived != nil && !w.greeting.Load() {
		(*arrived)()
	}
	return w.Conn.Read(p)
}

// Write implements [net.Conn].
func (w *carrier) Write(p []byte) (int, error) {
	if w.greeting.Load() && bytes.HasPrefix(p, []byte("CONNECT ")) {
		w.plain.Store(true)
	}
	return w.Conn.Write(p)
}

const (
	// carriedBytes is the largest message that is written past the library, and carriedPatience
	// how long writing the rest of one may take, which is as long as the library waits.
	carriedBytes, carriedPatience = 64 << 10, nats.DefaultFlusherTimeout
)

// publish gives a message to a connection. The library would wake a goroutine to write it, which
// is worth it if others join it there; alone it is written at once, if that is possible.
func (k *link) publish(c *nats.Conn, m *nats.Msg, alone bool) error {
	if w := k.carrier.Load(); alone && w != nil && w.plain.Load() && len(m.Data) <= carriedBytes {
		// What the library has still to write goes first. It has a lock while it connects anew, so
		// that after that all subscriptions are made.
		if n, err := c.Buffered(); err == nil && n == 0 && c.IsConnected() && payload(m) <= c.MaxPayload() {
			if done, err := w.publish(m); done {
				return err
			}
		}
	}
	return c.PublishMsg(m)
}

// publish writes a message at once. It reports false if that would wait.
func (w *carrier) publish(m *nats.Msg) (done bool, err error) {
	conn, ok := w.Conn.(*rawio.Conn)
	if !ok || !carriable(m) || !w.mu.TryLock() {
		return false, nil
	}
	defer w.mu.Unlock()
	w.text = appendMessage(w.text[:0], m)
	done, err = conn.TryWrite(w.text, carriedPatience)
	if err != nil {
		_ = w.Close() // a part of it may have been written
	}
	if cap(w.text) > 2*carriedBytes {
		w.text = nil
	}
	return done, err
}

// carriable says whether no text of a message ends a line of the protocol. Others are left to the
// library, which refuses or changes them.
func carriable(m *nats.Msg) bool {
	if len(m.Header) == 0 || strings.ContainsAny(m.Subject, " \t\r\n") {
		return false
	}
	for _, values := range m.Header {
		for _, v := range values {
			if strings.IndexByte(v, '\r') >= 0 || strings.IndexByte(v, '\n') >= 0 {
				return false
			}
		}
	}
	return true
}

// appendMessage appends a message as the protocol of NATS has it.
func appendMessage(text []byte, m *nats.Msg) []byte {
	const version, end = "NATS/1.0\r\n", "\r\n"
	size := len(version) + len(end)
	for key, values := range m.Header {
		for _, v := range values {
			size += len(key) + len(": ") + len(v) + len(end)
		}
	}
	text = append(append(append(append(text, "HPUB "...), m.Subject...), ' '), m.Reply...)
	text = strconv.AppendInt(append(text, ' '), int64(size), 10)
	text = strconv.AppendInt(append(text, ' '), int64(size+len(m.Data)), 10)
	text = append(append(text, end...), version...)
	for key, values := range m.Header {
		for _, v := range values {
			text = append(append(append(append(text, key...), ": "...), v...), end...)
		}
	}
	text = append(append(text, end...), m.Data...)
	return append(text, end...)
}

// SetDeadline implements [net.Conn]. The library sets one for as long as it connects.
func (w *carrier) SetDeadline(t time.Time) error {
	w.greeting.Store(!t.IsZero())
	return w.Conn.SetDeadline(t)
}

// wired has the connections of a link made as carriers, however they are made otherwise. It is the
// last of the options.
func (k *link) wired(o *nats.Options) error {
	if o.InProcessServer != nil {
		o.InProcessServer = wiredServer{o.InProcessServer, k}
		return nil
	}
	d := wiredDialer{o.CustomDialer, k}
	if d.below == nil {
		below := &net.Dialer{}
		if o.Dialer != nil {
			*below = *o.Dialer
		}
		below.Timeout = o.Timeout
		d.below = below
	}
	o.CustomDialer = d
	return nil
}

type wiredServer struct {
	below nats.InProcessConnProvider
	link  *link
}

// InProcessConn implements [nats.InProcessConnProvider].
func (s wiredServer) InProcessConn() (net.Conn, error) {
	c, err := s.below.InProcessConn()
	if err != nil {
		return nil, err
	}
	w := &carrier{Conn: c, link: s.link}
	w.greeting.Store(true) // until it has connected
	return w, nil
}

type wiredDialer struct {
	below nats.CustomDialer
	link  *link
}

// Dial implements [nats.CustomDialer].
func (d wiredDialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.below.Dial(network, address)
	if err != nil {
		return nil, err
	}
	w := &carrier{Conn: rawio.New(c), link: d.link}
	w.greeting.Store(true) // until it has connected
	d.link.carrier.Store(w)
	return w, nil
}

// SkipTLSHandshake implements what the library asks a dialer that speaks TLS itself.
func (d wiredDialer) SkipTLSHandshake() bool {
	skips, ok := d.below.(interface{ SkipTLSHandshake() bool })
	return ok && skips.SkipTLSHandshake()
}

// whenRead has a function called by whoever reads from the connection, whenever all that it has
// read is in the channels of the subscriptions. It must wait for nobody.
func (k *link) whenRead(f func()) { k.arrived.Store(&f) }
