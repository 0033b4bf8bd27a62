package cluster

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/streams"
)

// hostile is a publisher that sends arbitrary bytes.
type hostile struct {
	t        *testing.T
	rnd      *rand.Rand
	address  string
	app      string
	channels []string
	// victims are users and sockets that its messages name.
	victims, sockets []string
	conn             net.Conn
	drained          chan struct{}
	redials          int
}

// login connects with the publishers' role.
func (h *hostile) login() {
	u, err := url.Parse(h.address)
	if err != nil {
		h.t.Error(err)
		return
	}
	if h.conn, err = net.Dial("tcp", u.Host); err != nil {
		h.t.Error(err)
		return
	}
	_, _ = h.conn.Write([]byte("CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"publisher\",\"pass\":\"change-this-password-too\"}\r\nSUB _INBOX.hostile 1\r\n"))
	h.drained = make(chan struct{})
	conn, drained := h.conn, h.drained
	go func() {
		defer close(drained)
		_, _ = bufio.NewReader(conn).WriteTo(discard{})
	}()
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// leave ends the sending side, and waits until the server has read everything.
func (h *hostile) leave() {
	_ = h.conn.(*net.TCPConn).CloseWrite()
	<-h.drained
	_ = h.conn.Close()
}

// publish sends one message. If the server has closed the connection, it dials again.
func (h *hostile) publish() {
	subject, reply, block, data := h.subject(), h.reply(), h.block(), h.data()
	text := fmt.Sprintf("HPUB %s %s %d %d\r\n%s%s\r\n", subject, reply, len(block), len(block)+len(data), block, data)
	if h.rnd.IntN(20) == 0 {
		text = fmt.Sprintf("PUB %s %s %d\r\n%s\r\n", subject, reply, len(data), data)
	}
	select {
	case <-h.drained:
		h.redials++
		_ = h.conn.Close()
		h.login()
	default:
	}
	_, _ = h.conn.Write([]byte(text))
}

func (h *hostile) one(of ...string) string { return of[h.rnd.IntN(len(of))] }

func (h *hostile) noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(h.rnd.UintN(256))
	}
	return string(b)
}

// word returns noise that a subject can carry.
func (h *hostile) word() string {
	const letters = "abcXYZ019=_-:@,;#$!%&/()?~'\"{}[]|\\^\u00fc\x01\x7f"
	var b strings.Builder
	for range 1 + h.rnd.IntN(40) {
		b.WriteByte(letters[h.rnd.IntN(len(letters))])
	}
	return b.String()
}

func (h *hostile) subject() string {
	channel := func() string { return streams.SubjectOf(h.app, h.channels[h.rnd.IntN(len(h.channels))]) }
	switch h.rnd.IntN(10) {
	case 0:
		return streams.SubjectOf(h.app, h.one("#sluice-orders", "#sluice", "#server-to-user-u0", "", "#"))
	case 1:
		return "ch." + h.app + "." + h.one("=", "=ZZ", "=2e", "=2E=2E", "a=", strings.Repeat("x", 300), h.word(), h.word())
	case 2:
		return h.one("ch."+h.app, "ch."+h.app+".a.b", "ch."+h.app+".*", "ch."+h.app+".>", "ch.other.x", "ch.>", "ch."+h.word()+".x", channel()+".more")
	case 3:
		return h.one(streams.LiveSubjectOf(h.app, "plain"), "$JS.API.STREAM.DELETE.CH_"+h.app, "$JS.API.STREAM.PURGE.CH_"+h.app,
			"$KV.cluster.seat."+h.app+".plain.n.u", "$KV.sluice_epochs."+h.app, "rtkv.seat.x", "ep."+h.app+".1.plain", "ep."+h.app+".x", "work.q", "_INBOX.x", "$SYS.REQ.SERVER.PING")
	}
	return channel()
}

func (h *hostile) reply() string {
	return h.one("", "", "_INBOX.hostile", streams.LiveSubjectOf(h.app, "plain"), "$KV.cluster.x", "work.q", streams.SubjectOf(h.app, "plain"))
}

func (h *hostile) data() string {
	switch h.rnd.IntN(12) {
	case 0:
		return ""
	case 1:
		return h.noise(h.rnd.IntN(300))
	case 2:
		return fmt.Sprintf(`{"terminate":%q}`, h.one(h.victims...))
	case 3:
		if h.rnd.IntN(4) == 0 {
			return strings.Repeat("x", h.rnd.IntN(150_000))
		}
	case 4:
		if h.rnd.IntN(50) == 0 {
			return strings.Repeat("x", 2<<20)
		}
	}
	return h.one(`{"x":1}`, `[`, "null", "text", `"`+h.word(), `{"symbol":"BTC","n":1}`)
}

func (h *hostile) line() string {
	n := h.rnd.Uint64N(1 << uint(h.rnd.IntN(63)))
	place := func(sequence uint64) string {
		return fmt.Sprintf("Nats-Stream: %s\r\nNats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: %s\r\nNats-Last-Sequence: %d\r\nNats-Num-Pending: 0",
			streams.StreamOf(h.app), streams.SubjectOf(h.app, h.one(h.channels...)), sequence, h.one("2038-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "now"), max(sequence, 1)-1)
	}
	switch h.rnd.IntN(6) {
	case 0:
		return h.one("", "no colon", " folded", ": nothing", "A:b", "A: \x00", "A: "+strings.Repeat(" ", 500), "A:"+strings.Repeat("b", h.rnd.IntN(9000)), h.noise(20), "\r", "\n", "NATS/1.0", "NATS/1.0 503")
	case 1:
		return h.one(place(n), place(999999), place(1), "Nats-Sequence: x", "nats-sequence: 5", "Nats-Last-Sequence: 0", "Nats-Stream: "+h.word())
	case 2:
		return h.one("Nats-Rollup: all", "Nats-Rollup: sub", "Nats-TTL: 1", "Nats-TTL: never", "Nats-Incr: 1", "Nats-Schedule: @every 1s\r\nNats-Schedule-Target: rt.x.y",
			"Nats-Expected-Stream: X", fmt.Sprint("Nats-Expected-Last-Sequence: ", n), "Nats-Expected-Last-Subject-Sequence: 0", "Nats-Expected-Last-Msg-Id: x",
			"Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1", "Nats-Batch-Id: b\r\nNats-Batch-Sequence: 2\r\nNats-Batch-Commit: 1", "Nats-Required-Api-Level: 99",
			"Nats-Marker-Reason: Purge", "KV-Operation: DEL", "Nats-Msg-Size: 5", "Nats-Trace-Dest: rt.x.y", "Nats-Trace-Only: true", "Nats-Request-Info: {}", "Nats-Stream-Source: X 1 > > >")
	case 3:
		return h.one("User-Id: "+h.one(h.victims...), "Origin: client", "Origin: http", "Node: 0", "Message-Id: "+h.word(), "Extras: {}", "Extras: {", "Proof: "+strings.Repeat("A", 22), "Exclude-Socket: "+h.one(h.sockets...))
	case 4:
		return h.one("Event: tick", "Event: pusher:error", "Event: pusher_internal:member_removed", "Event: client-say", "Event: "+strings.Repeat("e", 300), "Event: \"\\n\"", "Event: ",
			"Tags: {", "Tags: {\"a\":1}", "Tags: {\"a\":\"b\"}", "Delta: true", "Delta: false", "Conflation-Key: "+h.noise(5), "Conflation-Key: BTC", "Event: sockudo:resume_failed")
	}
	return "Nats-Msg-Id: " + h.one("", fmt.Sprintf("key/e/KEY-%d/%s", h.rnd.IntN(1000), h.one(h.channels...)), "gateway/"+h.word(), "same")
}

// block returns the bytes of a header block, some of them valid.
func (h *hostile) block() string {
	if h.rnd.IntN(50) == 0 {
		return h.noise(h.rnd.IntN(4))
	}
	lines := []string{"NATS/1.0"}
	if h.rnd.IntN(10) == 0 {
		lines[0] = h.one("NATS/1.0 503", "NATS/1.0 404 Not Found", "NATS/1.0 100 Idle Heartbeat", "NATS/1.0 204 EOB", "NATS/1.0 5", "", "HTTP/1.1 200 OK", "NATS/1.0"+h.noise(3))
	}
	n := h.rnd.IntN(6)
	if h.rnd.IntN(40) == 0 {
		n = h.rnd.IntN(300)
	}
	for range n {
		lines = append(lines, h.line())
	}
	block := []byte(strings.Join(lines, h.one("\r\n", "\r\n", "\r\n", "\r\n", "\n")) + h.one("\r\n\r\n", "\r\n\r\n", "\r\n\r\n", "\r\n", "", "\r\n\r\nX: y\r\n\r\n"))
	if h.rnd.IntN(10) == 0 && len(block) > 0 {
		block[h.rnd.IntN(len(block))] = byte(h.rnd.UintN(256))
	}
	if h.rnd.IntN(10) == 0 {
		at := h.rnd.IntN(len(block) + 1)
		block = slices.Insert(block, at, []byte("\r\n\r\n")...)
	}
	return string(block)
}
