//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// openFiles counts the descriptors of the server.
func (s *server) openFiles() int {
	s.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(all)
}

// setLimit changes the limit of descriptors of the running server.
func (s *server) setLimit(n int) {
	s.t.Helper()
	const resource = 7 // RLIMIT_NOFILE
	limit := syscall.Rlimit{}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(s.cmd.Process.Pid), resource, 0, uintptr(unsafe.Pointer(&limit)), 0, 0); errno != 0 {
		s.t.Skip("the limit of another process cannot be read: ", errno)
	}
	limit.Cur = uint64(n)
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(s.cmd.Process.Pid), resource, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		s.t.Skip("the limit of another process cannot be set: ", errno)
	}
}

// readiness requests /ready with the given client, on a connection that is already open.
func readiness(client *http.Client, s *server) (int, string) {
	resp, err := client.Get("http://" + s.HTTP + "/ready")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// metric returns the sum of a metric over the lines that contain all of the labels.
func metric(t *testing.T, s *server, name string, labels ...string) float64 {
	t.Helper()
	sum, there := metricIf(t, s, name, labels...)
	if !there {
		t.Fatal("the server does not tell its metrics")
	}
	return sum
}

// metricIf is metric for a server that may be gone.
func metricIf(t *testing.T, s *server, name string, labels ...string) (sum float64, there bool) {
	t.Helper()
	resp, err := http.Get("http://" + s.Metrics + "/metrics")
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
lines:
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		line := in.Text()
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum, true
}

// TestTrust08SocketsLeaveTheLogItsDescriptors gives the server 80 descriptors and opens a hundred
// connections, of each useless kind. The log keeps working, whatever files it opens; the first clients are
// served, others get 503; and when the connections are gone the server is as before.
func TestTrust08SocketsLeaveTheLogItsDescriptors(t *testing.T) {
	for _, c := range []struct{ name, says string }{
		{"WebSockets", handshake},
		{"silent", ""},
		{"half a request", "GET / HTTP/1.1\r\n"},
		{"requests", "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			yaml := strings.Replace(config(t.TempDir(), "http: {header_timeout: 10m, idle_timeout: 1h}"), "port: -1}\nlog", "port: 0}\nlog", 1)
			s := serveLimited(t, t.TempDir(), yaml, "ulimit -n 80")
			client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			if err := publishSigned(client, s.HTTP, "room", "e", "first"); err != nil {
				t.Fatal(err)
			}
			reader := dialWire(t, s.HTTP, handshake+subscribeFrame("room"))
			reader.until("subscription_succeeded")
			var all []net.Conn
			for range 100 {
				conn, err := net.Dial("tcp", s.HTTP)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, conn)
				_, _ = io.WriteString(conn, c.says)
			}
			eventually(t, "some are refused", func() bool { return metric(t, s, "sockudo_sockets_refused_total", `reason="descriptors"`) >= 40 })
			if status, text := readiness(client, s); status != http.StatusServiceUnavailable || !strings.Contains(text, "descriptors.reserve") {
				t.Errorf("/ready answers %d %s", status, text)
			}
			// The log may have closed a file in the meantime, which leaves room for one more connection.
			for path, want := range map[string]int{"/health": http.StatusOK, "/ready": http.StatusServiceUnavailable} {
				eventually(t, fmt.Sprintf("%s of the metrics port answers %d", path, want), func() bool {
					conn, err := net.Dial("tcp", s.HTTP)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, conn)
					_, _ = io.WriteString(conn, c.says)
					resp, err := http.Get("http://" + s.Metrics + path)
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
					return resp.StatusCode == want
				})
			}
			// New channels, new blocks of the log and presence records make the log open files.
			big := strings.Repeat("x", 9000)
			for i := range 1200 {
				if err := publishSigned(client, s.HTTP, fmt.Sprint("room-", i%50), "e", big); err != nil {
					t.Fatalf("event %d: %v", i, err)
				}
				if i%100 == 0 {
					reader.say(aliveFrame)
				}
			}
			if err := publishSigned(client, s.HTTP, "room", "e", "last"); err != nil {
				t.Fatal(err)
			}
			reader.until("last")
			for _, conn := range all {
				_ = conn.Close()
			}
			eventually(t, "the server is ready again", func() bool {
				status, _ := readiness(client, s)
				return status == http.StatusOK
			})
			if err := publishSigned(client, s.HTTP, "room", "e", "after"); err != nil {
				t.Error(err)
			}
			if n := len(history(t, s, "room", "newest_first", "").Items); n != 3 {
				t.Errorf("%d events are stored, want 3", n)
			}
			if strings.Contains(s.logs.String(), "critical write error") {
				t.Error("the log ran out of descriptors")
			}
		})
	}
}

// TestTrust08TooFewDescriptorsEndTheStart: the start fails, and the error says how to raise the limit.
func TestTrust08TooFewDescriptorsEndTheStart(t *testing.T) {
	t.Parallel()
	s := launchLimited(t, t.TempDir(), config(t.TempDir()), "ulimit -n 30")
	<-s.done
	if !strings.Contains(s.logs.String(), "ulimit -n") {
		t.Errorf("the server said %s", s.logs)
	}
}

// TestTrust08SoftLimitIsRaised starts under a soft limit that is below the hard one: the server raises it.
func TestTrust08SoftLimitIsRaised(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(config(t.TempDir()), "port: -1}\nlog", "port: 0}\nlog", 1)
	s := serveLimited(t, t.TempDir(), yaml, "ulimit -S -n 64")
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, s, "sockudo_descriptors_limit"); got < float64(l.Max-1) {
		t.Errorf("the server has %v descriptors, %d are allowed", got, l.Max)
	}
}

// TestTrust08LogIsOpenedAgain lowers the descriptor limit of a running server until the log breaks, and
// raises it again. The log reopens by itself, and no acknowledged event is missing.
func TestTrust08LogIsOpenedAgain(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(config(t.TempDir(), "http: {publish_timeout: 2s}"), "port: -1}\nlog", "port: 0}\nlog", 1)
	s := serve(t, t.TempDir(), yaml)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	reader := dialWire(t, s.HTTP, handshake+subscribeFrame("room"))
	reader.until("subscription_succeeded")
	rnd := rand.New(rand.NewPCG(8, 8))
	acked, big := 0, strings.Repeat("x", 9000)
	tries := 0
	publish := func() error {
		if tries++; tries%20 == 0 {
			reader.say(aliveFrame)
		}
		err := publishSigned(client, s.HTTP, fmt.Sprint("room-", acked/90), "e", big[:1+rnd.IntN(len(big))])
		if err == nil {
			acked++
		}
		return err
	}
	// On a busy machine single publishes time out.
	eventually(t, "events are stored", func() bool {
		for range 100 {
			_ = publish()
		}
		return acked >= 100
	})
	for broken := false; !broken; {
		s.setLimit(3)
		for publish() == nil {
			if acked > 20_000 {
				t.Fatal("no file was opened")
			}
		}
		// On a busy machine the log may have failed because of a time-out, and then what is written is not
		// the full block of the log. The loop begins again.
		for began := time.Now(); time.Since(began) < 20*time.Second && !broken; _ = publish() {
			status, text := readiness(client, s)
			broken = status == http.StatusServiceUnavailable && strings.Contains(text, "the log cannot be written")
		}
		s.setLimit(4096)
		eventually(t, "events are stored again", func() bool { return publish() == nil })
	}
	eventually(t, "the server is ready again", func() bool {
		status, _ := readiness(client, s)
		return status == http.StatusOK
	})
	stored := 0
	for room := range acked/90 + 1 {
		stored += len(history(t, s, fmt.Sprint("room-", room), "newest_first", "").Items)
	}
	if stored < acked {
		t.Errorf("%d events were acknowledged, %d are stored", acked, stored)
	}
	eventually(t, "an event is stored afterwards", func() bool { return publishSigned(client, s.HTTP, "room", "e", "afterwards") == nil })
	// The frame restarts the reader's activity time-out.
	reader.say(aliveFrame)
	reader.until("afterwards")
	t.Logf("%d acknowledged, %d stored", acked, stored)
}

// TestTrust08StoreThatIsGoneEndsTheProcess makes the store unusable for good. The process ends with the
// reason instead of running on without a log.
func TestTrust08StoreThatIsGoneEndsTheProcess(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for five attempts")
	}
	data := t.TempDir()
	s := serve(t, t.TempDir(), config(data, "http: {publish_timeout: 1s}"))
	client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	eventually(t, "an event is stored", func() bool { return publishSigned(client, s.HTTP, "room", "e", "x") == nil })
	// A file takes the place of a directory of the store.
	store := filepath.Join(data, "store", "jetstream")
	if err := os.Rename(store, store+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 9000)
	eventually(t, "the process ends", func() bool {
		select {
		case <-s.done:
			return true
		default:
			_ = publishSigned(client, s.HTTP, "room", "e", big)
			return false
		}
	})
	if !strings.Contains(s.logs.String(), "opening it again failed") {
		t.Error("the process ended without the reason")
	}
}

// TestTrust08SocketsThatDoNotReadShareTheMemory has a server with little memory and sockets that do not read.
// Each is on its own channel and within its own bound, but together they may queue more than the memory. The
// process survives, its memory stays within the limit, and a socket that reads gets everything.
func TestTrust08SocketsThatDoNotReadShareTheMemory(t *testing.T) {
	t.Parallel()
	const sockets, limit = 60, 128 << 20
	yaml := strings.Replace(config(t.TempDir(), fmt.Sprintf("memory: {limit: %d}", limit), "websocket: {send_buffer: 4096, queue_bytes: 4194304, slow_timeout: 10m}",
		"apps: [{id: app-id, key: app-key, secret: app-secret, max_event_payload_in_kb: 128}]"), "port: -1}\nlog", "port: 0}\nlog", 1)
	s := serve(t, t.TempDir(), yaml)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	reader := dialWire(t, s.HTTP, handshake+subscribeFrame("busy"))
	reader.until("subscription_succeeded")
	var slow []net.Conn
	for i := range sockets {
		conn := dialSmall(t, s.HTTP)
		if _, err := io.WriteString(conn, handshake+subscribeFrame(fmt.Sprint("own-", i))); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	eventually(t, "all are subscribed", func() bool { return metric(t, s, "sockudo_log_channels_attached") >= sockets })
	big, most := strings.Repeat("x", 100_000), 0.0
	n := 0
	for ; ; n++ {
		if err := publishMany(client, s.HTTP, sockets, big); err != nil {
			t.Fatal(err)
		}
		if err := publishSigned(client, s.HTTP, "busy", "e", fmt.Sprintf("number %d.", n)); err != nil {
			t.Fatal(err)
		}
		// No socket may be closed for another reason, such as its activity time-out on a busy machine.
		for _, conn := range append(slow, reader.conn) {
			_, _ = io.WriteString(conn, aliveFrame)
		}
		reader.say("") // which restarts its read deadline
		reader.until(fmt.Sprintf("number %d.", n))
		most = max(most, metric(t, s, "sockudo_socket_queue_held_bytes"))
		if metric(t, s, "sockudo_slow_sockets_closed_total", `reason="total"`) > sockets/4 {
			break
		}
		if n > 1000 {
			t.Fatal("nobody was closed")
		}
	}
	if most > limit/4+(8<<20) {
		t.Errorf("%v bytes were held, a quarter of the memory may be", most)
	}
	// The race detector multiplies the resident memory of the server under test, so the held bytes it reports
	// are checked.
	if held := metric(t, s, "sockudo_memory_held_bytes"); held > limit {
		t.Errorf("%v bytes are held", held)
	}
	for _, conn := range slow {
		_ = conn.Close()
	}
	eventually(t, "nothing is left", func() bool { return metric(t, s, "sockudo_socket_queue_held_bytes") == 0 })
	t.Logf("%d rounds, %v bytes at most", n, most)
}

// dialSmall connects with a small receive buffer, so that the server soon notices that the client does not
// read.
func dialSmall(t *testing.T, address string) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// publishMany publishes an event to the channels own-0, own-1 and so on, without a signature.
func publishMany(client *http.Client, address string, channels int, data string) error {
	const together = 60
	for from := 0; from < channels; from += together {
		var body bytes.Buffer
		body.WriteString(`{"name":"e","data":"` + data + `","channels":[`)
		for i := from; i < min(channels, from+together); i++ {
			if i > from {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `"own-%d"`, i)
		}
		body.WriteString(`]}`)
		resp, err := client.Post("http://"+address+"/apps/"+appID+"/events", "application/json", &body)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, text)
		}
	}
	return nil
}
