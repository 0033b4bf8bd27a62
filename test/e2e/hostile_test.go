package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

const handshake = "GET /app/" + appKey + "?protocol=7 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// clientFrame returns a frame with the mask 0, which leaves the payload as it is.
func clientFrame(head byte, payload string) string {
	out := []byte{head}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	return string(append(out, 0, 0, 0, 0)) + payload
}

func subscribeFrame(channel string) string {
	return clientFrame(0x81, fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%q}}`, channel))
}

// wire is a raw connection that may break the protocol.
type wire struct {
	t    *testing.T
	conn net.Conn
	seen []byte
}

func dialWire(t *testing.T, address, text string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := &wire{t: t, conn: conn}
	w.say(text)
	return w
}

func (w *wire) say(text string) {
	w.t.Helper()
	if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	// The server may close the connection in the middle of a text that it refuses.
	_, _ = io.WriteString(w.conn, text)
}

// aliveFrame is a ping. A client that only reads and sends none is closed after two and a half minutes:
// longer than most tests take, but not on a busy machine.
var aliveFrame = clientFrame(0x81, `{"event":"pusher:ping","data":{}}`)

// until reads until text has come.
func (w *wire) until(text string) {
	w.t.Helper()
	buf := make([]byte, 4096)
	for !bytes.Contains(w.seen, []byte(text)) {
		n, err := w.conn.Read(buf)
		w.seen = append(w.seen, buf[:n]...)
		if err != nil {
			w.t.Fatalf("%v before %q came, only %q", err, text, w.seen)
		}
	}
}

// ended reads until the server has closed the connection.
func (w *wire) ended() {
	w.t.Helper()
	rest, err := io.ReadAll(w.conn)
	w.seen = append(w.seen, rest...)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		w.t.Fatalf("the connection was not closed; it said %q", w.seen)
	}
}

// bystander checks that another client is not affected: it gets every published event once and in order, over
// its first connection.
type bystander struct {
	s      *server
	client *client.Client
	socket string
	next   int
}

func newBystander(t *testing.T, s *server) *bystander {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: "http://" + s.HTTP, Key: appKey, HandshakeTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Subscribe(ctx, "calm"); err != nil {
		t.Fatal(err)
	}
	return &bystander{s: s, client: c, socket: c.SocketID()}
}

func (b *bystander) undisturbed(t *testing.T) {
	t.Helper()
	b.next++
	want := fmt.Sprint(b.next)
	if err := publishSigned(http.DefaultClient, b.s.HTTP, "calm", "n", want); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	select {
	case ev := <-b.client.Events():
		if ev.Data != want {
			t.Fatalf("the bystander got %q, want %q", ev.Data, want)
		}
	case <-b.client.Done():
		t.Fatalf("the bystander lost its connection: %v", b.client.Err())
	case <-time.After(patience):
		t.Fatalf("event %s did not reach the bystander", want)
	}
	if b.client.SocketID() != b.socket {
		t.Fatal("the bystander had to reconnect")
	}
	select {
	case <-b.s.done:
		t.Fatalf("the server ended: %v\n%s", b.s.err, b.s.logs)
	default:
	}
}

func TestHostileConnections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	by := newBystander(t, s)
	const greeting = "connection_established"
	for name, bad := range map[string]string{
		"the length of 14 bytes that slices below zero": "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		"a length of all ones":                          "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		"a promise of a gigabyte":                       "\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00",
		"a frame of two megabytes":                      clientFrame(0x81, strings.Repeat("x", 2<<20)),
		"a frame without a mask":                        "\x81\x02{}",
		"a reserved opcode":                             clientFrame(0x83, "{}"),
		"reserved bits":                                 clientFrame(0xf1, "{}"),
		"a ping of 126 bytes":                           clientFrame(0x89, strings.Repeat("x", 126)),
		"a continuation of nothing":                     clientFrame(0x80, "{}"),
		"text that is not UTF-8":                        clientFrame(0x81, "\xff\xfe"),
		"a close frame of one byte":                     clientFrame(0x88, "x"),
		"a second request":                              handshake,
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, s.HTTP, handshake)
			w.until(greeting)
			w.say(bad)
			w.ended()
			by.undisturbed(t)
		})
		t.Run(name+", pipelined with the handshake", func(t *testing.T) {
			dialWire(t, s.HTTP, handshake+bad).ended()
			by.undisturbed(t)
		})
	}
	t.Run("a good frame pipelined with the handshake is read", func(t *testing.T) {
		dialWire(t, s.HTTP, handshake+subscribeFrame("early")).until(`subscription_succeeded`)
	})
	for name, text := range map[string]string{
		"not JSON": `{"event":`, "a number": `1`, "a list": `[]`, "no event": `{}`, "event is a number": `{"event":1}`,
		"deep": strings.Repeat(`[`, 30000), "channel is a list": `{"event":"pusher:subscribe","data":{"channel":[]}}`,
		"unknown request": `{"event":"pusher:reboot","data":{}}`, "data is garbage": `{"event":"pusher:subscribe","data":"{{{{"}`,
	} {
		t.Run(name+" is answered and the connection goes on", func(t *testing.T) {
			w := dialWire(t, s.HTTP, handshake)
			w.until(greeting)
			w.say(clientFrame(0x81, text))
			w.say(clientFrame(0x81, `{"event":"pusher:ping"}`))
			w.until("pusher:pong")
			by.undisturbed(t)
		})
	}
	t.Run("noise", func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		for range 200 {
			noise := make([]byte, random.IntN(400))
			for i := range noise {
				noise[i] = byte(random.Uint32())
			}
			text := string(noise)
			if random.IntN(2) == 0 {
				text = handshake + text
			}
			w := dialWire(t, s.HTTP, text)
			_ = w.conn.Close()
		}
		by.undisturbed(t)
	})
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, strings.Replace(config(dir), "mode: development",
		"mode: production\napps: [{id: app-id, key: app-key, secret: app-secret}]", 1))
	by := newBystander(t, s)
	for name, c := range map[string]struct {
		path, body string
		status     int
	}{
		"no signature":       {"/apps/app-id/events", `{"name":"n","channel":"calm","data":"d"}`, 401},
		"a wrong signature":  {"/apps/app-id/events?auth_key=app-key&auth_signature=00&auth_timestamp=1&auth_version=1.0", `{}`, 401},
		"an unknown app":     {"/apps/nobody/events", `{}`, 401},
		"garbage":            {"/apps/app-id/events", "\x00\xff garbage", 401},
		"no such path":       {"/apps/app-id/../../etc/passwd", ``, 404},
		"a body of 2 MiB":    {"/apps/app-id/events", strings.Repeat("x", 2<<20), 413},
		"a wrong percentage": {"/apps/app-id/channels/%zz/history", ``, 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, s.HTTP, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", c.path, len(c.body), c.body))
			w.until("\r\n")
			if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); !strings.HasPrefix(string(w.seen), want) {
				t.Errorf("got %.200q, want %s", w.seen, want)
			}
			by.undisturbed(t)
		})
	}
	api, err := client.NewSigned(client.SignedOptions{URL: "http://" + s.HTTP, AppID: appID, Key: appKey, Secret: appSecret})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"a list": `[1]`, "a number": `7`, "a name that is a list": `{"name":[],"channel":"c","data":"d"}`, "nothing": `{}`,
	} {
		t.Run("signed, "+name, func(t *testing.T) {
			err := api.Do(t.Context(), http.MethodPost, []string{"events"}, nil, json.RawMessage(body), nil)
			if err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("got %v, want a 400", err)
			}
			by.undisturbed(t)
		})
	}
}

// TestHostileChannelNames: a channel name is one token of the log's subjects, whatever characters it
// contains.
func TestHostileChannelNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	by := newBystander(t, s)
	for _, name := range []string{"*", ">", "a.*", "a b", "a\tb", "ä", "a/b", "$JS.API", strings.Repeat("x", 201)} {
		t.Run(fmt.Sprintf("%.20q is refused", name), func(t *testing.T) {
			w := dialWire(t, s.HTTP, handshake+subscribeFrame(name))
			w.until(`\"status\":400`)
			err := publishSigned(http.DefaultClient, s.HTTP, name, "n", "d")
			if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), "channel") {
				t.Errorf("publishing got %v, want a 400 about the channel", err)
			}
			by.undisturbed(t)
		})
	}
	names := []string{"a..b", "a.b", "=2E", ".", "..", "a=2Eb", "a", "=", "=2e", "a.b.c"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: "http://" + s.HTTP, Key: appKey, HandshakeTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, name := range names {
		if err := c.Subscribe(ctx, name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, name := range names {
		if err := publishSigned(http.DefaultClient, s.HTTP, name, "n", name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		select {
		case ev := <-c.Events():
			if ev.Channel != name || ev.Data != name {
				t.Fatalf("an event of %s came as one of %s", name, ev.Channel)
			}
		case <-ctx.Done():
			t.Fatalf("the event of %s did not come", name)
		}
	}
	by.undisturbed(t)
}
