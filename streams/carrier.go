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

// carrier is the net.Conn that the client library uses. When the library calls Read again, all messages that it has read
// before are in the channels of their subscriptions. At that moment the reading goroutine processes them itself, so no
// other goroutine must be woken.
type carrier struct {
	net.Conn
	link *link
	// greeting is set while the library connects. It holds a lock then, and no message can have arrived.
	greeting atomic.Bool
	// plain is set once the library has written the NATS protocol here without TLS or WebSocket framing.
	plain atomic.Bool
	// patience is the deadline for one piece of a write, see [carrier.Write].
	patience time.Duration

	mu   sync.Mutex // held during writes, except while greeting is set
	text []byte     // the encoded message that is being written
}

// Read implements [net.Conn].
func (w *carrier) Read(p []byte) (int, error) {
	if !w.greeting.Load() {
		w.link.tell()
	}
	return w.Conn.Read(p)
}

const (
	// writePatience is how long a server may take to accept a piece of a write, of writePiece bytes at most. Meanwhile the
	// library holds the lock of its connection, which every user of the connection needs. A server in the same process
	// may be slow but is not unreachable, so it gets withinPatience.
	writePatience, writePiece = 5 * time.Second, 64 << 10
	withinPatience            = time.Minute
	// writeLongest bounds all pieces of one write together. Usually the library writes a few pieces, but what it has
	// buffered without a connection can be more.
	writeLongest = time.Minute
	// carriedBytes is the size of the largest message that is written directly, bypassing the library.
	carriedBytes = 64 << 10
)

// Write implements [net.Conn]. After an error it closes the connection, even if nothing was written, because the library
// would drop what it could not write and continue.
func (w *carrier) Write(p []byte) (n int, err error) {
	if w.greeting.Load() { // the library has a timeout for connecting as a whole
		if bytes.HasPrefix(p, []byte("CONNECT ")) {
			w.plain.Store(true)
		}
		return w.Conn.Write(p)
	}
	w.mu.Lock() // no direct write may come between two pieces
	defer w.mu.Unlock()
	// Direct writes use a timeout of their own.
	defer func() { _ = w.Conn.SetWriteDeadline(time.Time{}) }()
	now := time.Now()
	for longest := now.Add(writeLongest); err == nil && n < len(p); now = time.Now() {
		until := now.Add(w.patience)
		if until.After(longest) {
			until = longest
		}
		_ = w.Conn.SetWriteDeadline(until)
		var m int
		m, err = w.Conn.Write(p[n:min(n+writePiece, len(p))])
		n += m
	}
	if err != nil {
		_ = w.Conn.Close()
	}
	return n, err
}

// SetWriteDeadline implements [net.Conn] and does nothing. The library would set a minute, even while another write is
// waiting or the timeout for connecting runs. See [carrier.Write].
func (w *carrier) SetWriteDeadline(time.Time) error { return nil }

// publish publishes a message on a connection. The library wakes a goroutine to write it, which pays if several messages
// are written together. With alone, the message is written directly if that is possible at once.
func (k *link) publish(c *nats.Conn, m *nats.Msg, alone bool) error {
	if w := k.carrier.Load(); alone && w != nil && w.plain.Load() && len(m.Data) <= carriedBytes {
		// Data that the library has buffered goes first. Buffered takes the lock that the library holds while it
		// reconnects, so afterwards all subscriptions have been restored.
		if n, err := c.Buffered(); err == nil && n == 0 && c.IsConnected() && payload(m) <= c.MaxPayload() {
			if done, err := w.publish(m); done {
				return err
			}
		}
	}
	return c.PublishMsg(m)
}

// publish writes a message directly. It reports false, and writes nothing, if that would block.
func (w *carrier) publish(m *nats.Msg) (done bool, err error) {
	conn, ok := w.Conn.(*rawio.Conn)
	if !ok || !carriable(m) || !w.mu.TryLock() {
		return false, nil
	}
	defer w.mu.Unlock()
	w.text = appendMessage(w.text[:0], m)
	return w.write(conn)
}

// write writes text directly, or reports false if that would block. The caller holds mu.
func (w *carrier) write(conn *rawio.Conn) (done bool, err error) {
	done, err = conn.TryWrite(w.text, w.patience)
	if err != nil {
		_ = w.Close() // a part may have been written
	}
	if cap(w.text) > 2*carriedBytes {
		w.text = nil
	}
	return done, err
}

// publishTogether writes all messages of a batch with one direct write. The last message has the reply subject. It reports
// false, and writes nothing, if that is not possible at once.
func (k *link) publishTogether(c *nats.Conn, parcels []parcel, id, reply string) (done bool, err error) {
	w, size := k.carrier.Load(), 0
	for i := range parcels {
		if p := &parcels[i]; !carriable(p.m) || int64(p.size+batchRoom) > c.MaxPayload() {
			return false, nil
		}
		size += parcels[i].size
	}
	if w == nil || !w.plain.Load() || size > carriedBytes {
		return false, nil
	}
	if n, err := c.Buffered(); err != nil || n > 0 || !c.IsConnected() {
		return false, nil
	}
	conn, ok := w.Conn.(*rawio.Conn)
	if !ok || !w.mu.TryLock() {
		return false, nil
	}
	defer w.mu.Unlock()
	w.text = appendTogether(w.text[:0], parcels, id, reply)
	return w.write(conn)
}

// appendTogether appends the encoded messages of a batch.
func appendTogether(text []byte, parcels []parcel, id, reply string) []byte {
	var room [8]byte
	for i := range parcels {
		m := parcels[i].m
		lines := [...]line{{batchID, id}, {batchSequence, string(strconv.AppendInt(room[:0], int64(i+1), 10))}, {batchCommit, "1"}}
		if i < len(parcels)-1 {
			text = appendMessage(text, m, lines[:2]...)
			continue
		}
		m.Reply = reply
		text = appendMessage(text, m, lines[:]...)
		m.Reply = ""
	}
	return text
}

// carriable reports whether no text of a message contains a line end of the protocol. Other messages are left to the
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

// line is a header line.
type line struct{ key, value string }

// appendMessage appends a message encoded as HPUB of the NATS protocol, with more header lines.
func appendMessage(text []byte, m *nats.Msg, more ...line) []byte {
	const version, end = "NATS/1.0\r\n", "\r\n"
	size := len(version) + len(end)
	for key, values := range m.Header {
		for _, v := range values {
			size += len(key) + len(": ") + len(v) + len(end)
		}
	}
	for _, l := range more {
		size += len(l.key) + len(": ") + len(l.value) + len(end)
	}
	text = append(append(text, "HPUB "...), m.Subject...)
	if m.Reply != "" {
		text = append(append(text, ' '), m.Reply...)
	}
	text = strconv.AppendInt(append(text, ' '), int64(size), 10)
	text = strconv.AppendInt(append(text, ' '), int64(size+len(m.Data)), 10)
	text = append(append(text, end...), version...)
	for key, values := range m.Header {
		for _, v := range values {
			text = append(append(append(append(text, key...), ": "...), v...), end...)
		}
	}
	for _, l := range more {
		text = append(append(append(append(text, l.key...), ": "...), l.value...), end...)
	}
	text = append(append(text, end...), m.Data...)
	return append(text, end...)
}

// SetDeadline implements [net.Conn]. The library sets one for as long as it connects.
func (w *carrier) SetDeadline(t time.Time) error {
	w.greeting.Store(!t.IsZero())
	return w.Conn.SetDeadline(t)
}

// whenRead has a function called by whoever reads from the connection, whenever all that it has
// read is in the channels of the subscriptions. It must wait for nobody.
func (k *link) whenRead(f func()) { k.arrived.Store(&f) }

// tell calls that function, unless the log is closed.
func (k *link) tell() {
	if f := k.arrived.Load(); f != nil && k.log.inline.enter() {
		(*f)()
		k.log.inline.leave()
	}
}

// inline is who gives on what has come while he reads from NATS. He is a goroutine of the library,
// so nobody else can wait for him.
type inline struct {
	mu   sync.RWMutex
	shut bool
}

// enter says whether he may. Then leave must be called.
func (i *inline) enter() bool {
	i.mu.RLock()
	if i.shut {
		i.mu.RUnlock()
		return false
	}
	return true
}

func (i *inline) leave() { i.mu.RUnlock() }

// close waits for all who have entered. Nobody enters after it.
func (i *inline) close() {
	i.mu.Lock()
	i.shut = true
	i.mu.Unlock()
}
