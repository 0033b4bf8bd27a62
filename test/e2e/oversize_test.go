package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// peak returns the largest resident memory that the server ever had, in MiB.
func (s *server) peak() int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skip("this system does not tell the memory of a process: ", err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				s.t.Fatal(err)
			}
			return kb >> 10
		}
	}
	s.t.Fatal("the system does not tell the peak")
	return 0
}

// flood is a body of left bytes, all x.
type flood struct{ left int }

func (f *flood) Read(b []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), f.left)
	for i := range b[:n] {
		b[i] = 'x'
	}
	f.left -= n
	return n, nil
}

// TestR18OversizeIsBoundedBeforeAllocation sends bodies and frames that announce, or are, far more than the
// limits, many at a time. The server refuses them without allocating room for them, and a bystander misses
// nothing.
func TestR18OversizeIsBoundedBeforeAllocation(t *testing.T) { fault.Seeds(t, 18, oversize) }

func oversize(t *testing.T, rnd *rand.Rand) {
	s := serve(t, t.TempDir(), config(t.TempDir()))
	host, port, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	bystander := script(t, "receive.mjs", host, port, appKey, "room")
	bystander.subscribed()
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	before := s.peak()
	// 32 at once, of 64 MiB each, would be 2 GiB.
	const each = 32
	var all sync.WaitGroup
	for i := range each {
		size, announced, length := (48+rnd.IntN(32))<<20, int64(1)<<(30+rnd.IntN(30)), byte(0x40>>rnd.IntN(6))
		all.Go(func() { // a chunked body, without a length
			resp, err := client.Post("http://"+s.HTTP+"/apps/app-id/events", "application/json", &flood{size})
			if err != nil {
				return // the server closed the connection while the body was sent
			}
			defer resp.Body.Close()
			if _, _ = io.Copy(io.Discard, resp.Body); resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("a body of %d bytes was answered with %d", size, resp.StatusCode)
			}
		})
		all.Go(func() { // a large Content-Length
			answer := converse(t, s, fmt.Sprintf("POST /apps/app-id/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", announced), nil)
			if !strings.Contains(answer, " 413 ") {
				t.Errorf("a length of %d was answered with %q", announced, answer)
			}
		})
		all.Go(func() { // a frame that announces up to 1 GiB, whole or in its first fragment
			head := []byte{0x81 - byte(i%2)<<7, 0xff, 0, 0, 0, 0, length, 0, 0, 0, 1, 2, 3, 4}
			converse(t, s, "GET /app/"+appKey+"?protocol=7 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", append(head, make([]byte, 4096)...))
		})
	}
	all.Wait()
	if err := publishSigned(client, s.HTTP, "room", "e", "1"); err != nil {
		t.Fatal(err)
	}
	var got received
	if bystander.line(&got); got.Event != "e" {
		t.Errorf("the bystander got %+v", got)
	}
	if grown := s.peak() - before; grown > 128 {
		t.Errorf("the server grew by %d MiB for what it refused, want 128 at most", grown)
	} else {
		t.Logf("the server grew by %d MiB", grown)
	}
}

// converse sends a request and, once it was answered, more. It returns the first line of the answer when the
// server has closed the connection or sends no more.
func converse(t *testing.T, s *server, request string, more []byte) string {
	c, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		t.Error(err)
		return ""
	}
	in := bufio.NewReader(c)
	first, err := in.ReadString('\n')
	if err != nil {
		t.Errorf("no answer: %v", err)
		return ""
	}
	if more != nil {
		_, _ = c.Write(more)
		if _, err := io.Copy(io.Discard, in); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("the server keeps a connection that announced 1 GiB")
		}
	}
	return first
}
