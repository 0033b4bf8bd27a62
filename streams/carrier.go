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
	// patience is how long a piece of what is written may take, see [carrier.Write].
	patience time.Duration

	mu   sync.Mutex // held while something is written, except for the greeting
	text []byte     // of the message that is being written
}

// Read implements [net.Conn].
func (w *carrier) Read(p []byte) (int, error) {
	if !w.greeting.Load() {
		w.link.tell()
	}
	return w.Conn.Read(p)
}

const (
	// writePatience is how long a server may take for a piece of what is written, which has writePiece
	// bytes at most. The library holds the lock of its connection meanwhile, which all who use it need.
	// One in the same process is slow rather than away, so it has withinPatience.
	writePatience, writePiece = 5 * time.Second, 64 << 10
	withinPatience            = time.Minute
	// writeLongest is how long all the pieces of one write may take. The library writes a few of them at
	// once, but what it has gathered while it had no connection is more.
	writeLongest = time.Minute
	// carriedBytes is the largest message that is written past the library.
	carriedBytes = 64 << 10
)

// Write implements [net.Conn]. After an error the connection is closed, also if nothing was written: the
// library drops what it could not write, and would go on without it.
func (w *carrier) Write(p []byte) (n int, err error) {
	if w.greeting.Load() { // the library bounds that as a whole
		if bytes.HasPrefix(p, []byte("CONNECT ")) {
			w.plain.Store(true)
		}
		return w.Conn.Write(p)
	}
	w.mu.Lock() // nothing may be written past the library between two pieces
	defer w.mu.Unlock()
	// What is written past the library has a time of its own.
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

// SetWriteDeadline implements [net.Conn]. The library would have a write take a minute, and sets that while
// another one may be waiting, or while the time for connecting counts. See [carrier.Write].
func (w *carrier) SetWriteDeadline(time.Time) error { return nil }

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
	return w.write(conn)
}

// write writes the text at once, or reports false if that would wait. The lock is held.
func (w *carrier) write(conn *rawio.Conn) (done bool, err error) {
	done, err = conn.TryWrite(w.text, w.patience)
	if err != nil {
		_ = w.Close() // a part of it may have been written
	}
	if cap(w.text) > 2*carriedBytes {
		w.text = nil
	}
	return done, err
}

// publishTogether gives a batch with an id to a connection, all of its messages by one write. The last one asks for an
// answer on a subject. It reports false if that is not possible at once, and nothing was written.
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

// appendTogether appends the messages of a batch.
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

// line is one of a header.
type line struct{ key, value string }

// appendMessage appends a message as the protocol of NATS has it, with more lines in its header.
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
