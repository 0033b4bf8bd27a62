package e2e

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestSecretsNeverReachTheLog runs a server at debug level through its features and failures, and looks for
// its secrets in all of its output.
func TestSecretsNeverReachTheLog(t *testing.T) {
	t.Parallel()
	var hooks atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hooks.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(receiver.Close)
	dir := t.TempDir()
	const secret, header, query = "s3cr3t-of-the-app", "s3cr3t-of-the-header", "s3cr3t-of-the-query"
	yaml := strings.Replace(config(dir, fmt.Sprintf(`
apps:
  - id: app-id
    key: app-key
    secret: %s
    enable_client_messages: true
    enable_user_authentication: true
    webhooks: [{url: "%s/hook?token=%s", headers: {Authorization: "Bearer %s"}}]
`, secret, receiver.URL, query, header)), "log: {format: json}", "log: {format: json, level: debug}", 1)
	s := serve(t, dir, yaml)
	c := rawSocket(t, s.HTTP)
	id := regexp.MustCompile(`\d+\.\d+`).FindString(c.line())
	c.say(`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"app-key:%s"}}`, sum(secret, id+":private-a"))
	c.say(`{"event":"pusher:subscribe","data":{"channel":"private-b","auth":"app-key:wrong"}}`)
	c.say(`{"event":"pusher:signin","data":{"auth":"app-key:wrong","user_data":"{\"id\":\"u\"}"}}`)
	c.say(`{"event":"client-x","channel":"private-a","data":1}`)
	for _, path := range []string{"/apps/app-id/channels", "/apps/app-id/channels?auth_key=app-key&auth_signature=wrong", "/ready", "/metrics"} {
		resp, err := http.Get("http://" + s.HTTP + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	deadline := time.After(patience)
	for hooks.Load() < 2 {
		select {
		case <-deadline:
			t.Fatalf("no webhook was tried\n%s", s.logs)
		case <-time.After(10 * time.Millisecond):
		}
	}
	receiver.CloseClientConnections()
	receiver.Listener.Close()
	eventually(t, "a webhook could not be sent", func() bool { return strings.Contains(s.logs.String(), "connection refused") })
	out, err := exec.Command(tools.sluice, "config", "--config", s.dir+"/sluice.yaml").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.stop()
	for _, text := range []string{s.logs.String(), string(out)} {
		for _, hidden := range []string{secret, header, query} {
			if i := strings.Index(text, hidden); i >= 0 {
				t.Errorf("a secret was printed: %s", text[max(0, i-200):i+len(hidden)])
			}
		}
	}
	if !strings.Contains(s.logs.String(), "DEBUG") {
		t.Error("nothing was logged at debug level")
	}
}

// TestSecondSignalEndsAtOnce: a second signal stops a server at once, even one with a long drain.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, "shutdown: {drain_seconds: 600}"))
	var sockets []*plainSocket
	for range 200 {
		c := rawSocket(t, s.HTTP)
		c.line()
		sockets = append(sockets, c)
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	// The first connection that is asked to leave proves that the drain has begun.
	gone := make(chan struct{}, len(sockets))
	for _, c := range sockets {
		go func() {
			c.line()
			gone <- struct{}{}
		}()
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the drain did not begin")
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatal("the second signal did not end the process")
	}
}

func sum(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// plainSocket is a WebSocket client without a library.
type plainSocket struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func rawSocket(t *testing.T, address string) *plainSocket {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "GET /app/app-key?protocol=7 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	c := &plainSocket{t, conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v", err)
	}
	return c
}

// line reads the payload of a frame of up to 64 KiB. It is empty at the end of the connection.
func (c *plainSocket) line() string {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 2)
	if _, err := readFull(c.in, head); err != nil {
		return ""
	}
	n := int(head[1])
	if n == 126 {
		if _, err := readFull(c.in, head); err != nil {
			return ""
		}
		n = int(head[0])<<8 | int(head[1])
	}
	text := make([]byte, n)
	if _, err := readFull(c.in, text); err != nil {
		return ""
	}
	return string(text)
}

func readFull(r *bufio.Reader, b []byte) (int, error) {
	for n := 0; n < len(b); {
		k, err := r.Read(b[n:])
		if n += k; err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// say sends a text frame with an all-zero mask.
func (c *plainSocket) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	head := []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	if len(text) < 126 {
		head = []byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}
	}
	if _, err := c.conn.Write(append(head, text...)); err != nil {
		c.t.Error(err)
	}
}
