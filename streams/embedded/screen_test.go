package embedded

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestWhatPassesTheScreen(t *testing.T) {
	long := "SUB " + strings.Repeat("x", maxLine) + " 1\r\n"
	for _, c := range []struct{ name, sent, passed, err string }{
		{"a session", "CONNECT {}\r\nPING\r\nSUB a 1\r\nUNSUB 1\r\nPONG\r\n", "", ""},
		{"lower case and tabs", "connect {}\r\npub\ta\t1\r\nx\r\n", "", ""},
		{"a line feed alone", "PING\nPUB a 1\nx\r\nPING\n", "", ""},
		{"a message that looks like operations", "PUB a 15\r\nHPUB a 1 1\r\nx\r\n\r\nPING\r\n", "", ""},
		{"headers", "HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\nHPUB a reply 12 12\r\nNATS/1.0\r\n\r\n\r\n", "", ""},
		{"a header block of none", "HPUB a 0 1\r\nx\r\n", "", ""},
		{"a header block of two", "HPUB a 2 2\r\n\r\n\r\n", "", ""},
		{"a header block of one", "PING\r\nHPUB a 1 1\r\nx\r\n", "PING\r\n", "a header block of 1 byte"},
		{"a header block of one with zeros", "HPUB a 0001 2\r\nxy\r\n", "-", "a header block of 1 byte"},
		{"a header block of one, with a reply", "hpub a b 1 1\r\nx\r\n", "-", "a header block of 1 byte"},
		{"a return in the middle of a line", "HPUB a 1\r 13\r\n", "-", "carriage return"},
		{"a return in a number", "HPUB a 1 1\r3\n", "-", "carriage return"},
		{"a header block that is larger than its message", "HPUB a 3 2\r\nxy\r\n", "-", "header block"},
		{"sizes that are none", "HPUB a x 2\r\n", "-", "header block"},
		{"a negative size", "PUB a -1\r\n", "-", "size of a message"},
		{"too many words", "HPUB a b c 1 1\r\n", "-", "takes 3 or 4 words"},
		{"too few words", "PUB a\r\n", "-", "takes 2 or 3 words"},
		{"an operation glued to another", "PINGHPUB a 1 1\r\nx\r\n", "-", "unknown protocol operation"},
		{"an operation of servers", "RMSG a b 1\r\nx\r\n", "-", "unknown protocol operation"},
		{"a space before", " HPUB a 1 1\r\nx\r\n", "-", "unknown protocol operation"},
		{"an empty line", "\r\n", "-", "unknown protocol operation"},
		{"a line without end", long, "-", "maximum control line"},
		{"an answer elsewhere", "PUB a $KVx.a 1\r\nx\r\nHPUB a gw.a 2 2\r\n\r\n\r\nPUB $KV.a 1\r\nx\r\n", "", ""},
		{"an answer to the table", "PUB a $KV.a 1\r\nx\r\n", "-", "an answer on"},
		{"an answer to gateways", "pub\ta\tmy.gw.a  1\r\nx\r\n", "-", "an answer on"},
		{"an answer to gateways with headers", "PING\r\nHPUB a my.gw.a 2 2\r\n\r\n\r\n", "PING\r\n", "an answer on"},
		{"a message too large", "PUB a 2000\r\n" + strings.Repeat("x", 2000) + "\r\nPING\r\n", "PUB a 2000\r\n", ""},
		{"an id", idOf(maxID, 100), "", ""},
		{"an id of a large block", idOf(maxID, 20_000), "", ""},
		{"an id that is too long", "PING\r\n" + idOf(maxID+1, 100), "PING\r\n" + lineOf(idOf(maxID+1, 100)), "Nats-Msg-Id has 257 bytes"},
		{"one of a large block", idOf(maxID+1, 20_000), lineOf(idOf(maxID+1, 20_000)), "Nats-Msg-Id has 257 bytes"},
		{"one behind another", ofHeader("NATS/1.0\r\nNats-Msg-Id: a\r\n\r\nNats-Msg-Id:" + strings.Repeat("x", 300) + "\r\n\r\n"),
			lineOf(ofHeader("NATS/1.0\r\nNats-Msg-Id: a\r\n\r\nNats-Msg-Id:" + strings.Repeat("x", 300) + "\r\n\r\n")), "Nats-Msg-Id has 300 bytes"},
		{"one without an end", ofHeader("Nats-Msg-Id:" + strings.Repeat("x", 300)), lineOf(ofHeader("Nats-Msg-Id:" + strings.Repeat("x", 300))), "Nats-Msg-Id has 300 bytes"},
		{"a header block that is too large", "HPUB a 65537 65537\r\n", "-", "a header block has 65537 bytes"},
		{"a message without its end", "PUB a 1\r\nxHPUB a 1 1\r\nx\r\n", "PUB a 1\r\nxHP", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			limit := int64(1000)
			if len(c.sent) > 10_000 {
				limit = maxHeader
			}
			s := newScreen(strings.NewReader(c.sent), &out, limit, []string{"$KV.>", "my.gw.>"})
			err := s.run()
			_ = s.to.Flush()
			if got := errText(err); c.err == "" && err != nil || !strings.Contains(got, c.err) {
				t.Errorf("got error %q, want one with %q", got, c.err)
			}
			want := c.passed
			switch want {
			case "":
				want = c.sent
			case "-":
				want = ""
			}
			if out.String() != want {
				t.Errorf("passed %q, want %q", out.String(), want)
			}
		})
	}
}

// ofHeader is a message with a header block, of which the line ends where lineOf says.
func ofHeader(block string) string {
	return fmt.Sprintf("HPUB a %d %d\r\n%s\r\n", len(block), len(block), block)
}

func lineOf(message string) string { return message[:strings.Index(message, "\r\n")+2] }

// idOf is a message with an id of a length, in a block with so much else.
func idOf(length, more int) string {
	return ofHeader("NATS/1.0\r\nX: " + strings.Repeat("y", more) + "\r\nNats-Msg-Id: " + strings.Repeat("x", length) + "\r\n\r\n")
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// guarded is a server with a stream that repeats what it stores, which is what a message
// with a header block of one byte ends.
func guarded(t testing.TB) (*Server, *nats.Conn) {
	t.Helper()
	s, err := Start(context.Background(), Options{Port: -1, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	ours, err := nats.Connect("", s.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ours.Close)
	js, err := jetstream.New(ours)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"ch.>"}, RePublish: &jetstream.RePublish{Source: "ch.>", Destination: "rt.>"},
	}); err != nil {
		t.Fatal(err)
	}
	return s, ours
}

// say sends bytes to the port, hangs up the sending side, and returns what came back.
func say(t testing.TB, s *Server, text []byte) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = c.Write(text)
	_ = c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

func alive(t testing.TB, ours *nats.Conn) {
	t.Helper()
	if _, err := ours.Request("$JS.API.STREAM.INFO.S", nil, 30*time.Second); err != nil {
		t.Fatalf("the server has gone: %v", err)
	}
}

// One message of a stranger at the port of the embedded server ended the process: the
// NATS server takes the line end off a header block that has none.
func TestTrust01AMessageThatEndsTheServer(t *testing.T) {
	s, ours := guarded(t)
	heard, err := ours.SubscribeSync("rt.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Flush(); err != nil {
		t.Fatal(err)
	}
	const greeting = "CONNECT {\"headers\":true,\"verbose\":false}\r\n"
	for _, m := range []string{"HPUB ch.a.b 1 1\r\nx\r\n", "HPUB ch.a.b 1 5\r\nxdata\r\n", "hpub ch.a.b reply 01 5\r\nxdata\r\n"} {
		if answer := say(t, s, []byte(greeting+m)); !strings.Contains(answer, "a header block of 1 byte") {
			t.Errorf("%q was answered with %q", m, answer)
		}
		alive(t, ours)
	}
	say(t, s, []byte(greeting+"HPUB ch.a.b 2 4\r\n\r\nok\r\nPUB ch.a.c 2\r\nok\r\n"))
	for range 2 {
		if _, err := heard.NextMsg(30 * time.Second); err != nil {
			t.Fatalf("an ordinary message did not arrive: %v", err)
		}
	}
}

// FuzzScreen sends bytes to the port of a real server. Whatever they are, the server goes
// on serving others.
func FuzzScreen(f *testing.F) {
	for _, seed := range []string{
		"PUB ch.a.b 1\r\nx\r\n", "HPUB ch.a.b 1 1\r\nx\r\n", "HPUB ch.a.b 1\r 13\r\nx\r\n", "HPUB ch.a.b 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
		"HPUB ch.a.b 2 2\r\n\r\n\r\n", "SUB > 1\r\nPING\r\n", "PUB ch.a.b 1\r\nxHPUB ch.a.b 1 1\r\nx\r\n", "\x00", "HPUB\t ch.a.b  0 0\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	s, ours := guarded(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		say(t, s, append([]byte("CONNECT {\"headers\":true,\"verbose\":false}\r\n"), text...))
		alive(t, ours)
	})
}

// More clients than the server is told to take are sent away with a reason, and the next
// one comes in when one has left.
func TestClientsOfTheEmbeddedServerAreBounded(t *testing.T) {
	s, err := Start(context.Background(), Options{Port: -1, StoreDir: t.TempDir(), MaxConnections: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	var clients []*nats.Conn
	for range 3 {
		c, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	if answer := say(t, s, nil); !strings.Contains(answer, "maximum connections exceeded") {
		t.Errorf("one too many was told %q", answer)
	}
	clients[0].Close()
	deadline := time.After(30 * time.Second)
	for {
		c, err := nats.Connect(s.ClientURL())
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
