//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stranger attacks a server as anybody can who knows its address and the public key.
type stranger struct {
	address string
	rnd     *rand.Rand
	// open holds its connections, the oldest first. Beyond most, the oldest are closed.
	open []net.Conn
	most int
}

// attack is one step of an attack. It returns a connection to hold, or nil.
type attack struct {
	name string
	most int
	step func(ctx context.Context, s *stranger) net.Conn
}

// dial connects from another address of this machine each time.
func (s *stranger) dial(ctx context.Context, text string) net.Conn {
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+s.rnd.IntN(250)), byte(s.rnd.IntN(250)), byte(1+s.rnd.IntN(250)))},
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		},
	}
	conn, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil
	}
	s.write(conn, text)
	return conn
}

// write sends text and gives up after 200 ms. Errors are ignored.
func (s *stranger) write(conn net.Conn, text string) {
	_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.WriteString(conn, text)
}

// say sends text on all held connections.
func (s *stranger) say(text string) {
	for _, conn := range s.open {
		s.write(conn, text)
	}
}

func (s *stranger) word() string { return fmt.Sprintf("w%x", s.rnd.Uint64()) }

// run repeats the step of an attack until ctx is done.
func (s *stranger) run(ctx context.Context, a attack) {
	defer func() {
		for _, conn := range s.open {
			_ = conn.Close()
		}
	}()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if conn := a.step(ctx, s); conn != nil {
			s.open = append(s.open, conn)
		}
		for len(s.open) > s.most {
			_ = s.open[0].Close()
			s.open = s.open[1:]
		}
	}
}

const (
	post    = "POST %s?auth_key=" + appKey + "&auth_timestamp=1&auth_version=1.0&body_md5=x&auth_signature=y HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{"
	unknown = "/app/nobody"
)

// largeFilter is built once, because the attackers share the machine with the server under test.
var largeFilter = sync.OnceValue(func() string {
	nodes := make([]string, 700)
	for i := range nodes {
		nodes[i] = fmt.Sprintf(`{"key":"a-long-name-of-a-tag-%d","cmp":"eq","val":"x"}`, i)
	}
	return strings.Join(nodes, ",")
})

// attacks returns all ways in which a stranger may try to exhaust a server.
func attacks() []attack {
	subscribe := func(s *stranger) string { return subscribeFrame("own-" + s.word()) }
	return []attack{
		{"says nothing", 40, func(ctx context.Context, s *stranger) net.Conn { return s.dial(ctx, "") }},
		{"half a request", 40, func(ctx context.Context, s *stranger) net.Conn {
			s.say("X: y\r\n")
			return s.dial(ctx, "GET /app/"+appKey+" HTTP/1.1\r\nHost: h\r\n")
		}},
		{"does not read", 60, func(ctx context.Context, s *stranger) net.Conn {
			return s.dial(ctx, handshake+subscribeFrame("bulk")+subscribeFrame(fmt.Sprint("room-", s.rnd.IntN(10))))
		}},
		{"channels of its own", 40, func(ctx context.Context, s *stranger) net.Conn {
			var text strings.Builder
			for range 50 {
				text.WriteString(subscribe(s))
			}
			s.say(text.String())
			if s.rnd.IntN(10) > 0 {
				return nil
			}
			return s.dial(ctx, handshake+text.String())
		}},
		{"frames that cannot be", 5, func(ctx context.Context, s *stranger) net.Conn {
			bad := "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"
			if s.rnd.IntN(2) == 0 {
				return s.dial(ctx, strings.Replace(handshake, "/app/"+appKey, unknown, 1)+bad)
			}
			return s.dial(ctx, handshake+bad)
		}},
		{"large filters", 20, func(ctx context.Context, s *stranger) net.Conn {
			filter := func() string {
				return clientFrame(0x81, fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":"own-%s","filter":{"op":"or","nodes":[%s]}}}`, s.word(), largeFilter()))
			}
			s.say(filter())
			return s.dial(ctx, handshake+filter())
		}},
		{"slow bodies", 60, func(ctx context.Context, s *stranger) net.Conn {
			s.say("x")
			path := "/apps/" + appID + "/events"
			if s.rnd.IntN(2) == 0 {
				path = "/apps/nobody/events"
			}
			return s.dial(ctx, fmt.Sprintf(post, path))
		}},
		{"answers that nobody reads", 30, func(ctx context.Context, s *stranger) net.Conn {
			request := strings.Repeat("GET /apps/"+appID+"/channels HTTP/1.1\r\nHost: h\r\n\r\n", 200)
			return s.dial(ctx, request)
		}},
		{"messages that do not end", 60, func(ctx context.Context, s *stranger) net.Conn {
			return s.dial(ctx, handshake+"\x81\xfe\xff\xff\x00\x00\x00\x00"+strings.Repeat("x", s.rnd.IntN(1000)))
		}},
		{"requests of the protocol without end", 10, func(ctx context.Context, s *stranger) net.Conn {
			s.say(strings.Repeat(clientFrame(0x81, `{"event":"pusher:ping","data":{}}`), 300))
			return s.dial(ctx, handshake)
		}},
		{"comes and goes", 1, func(ctx context.Context, s *stranger) net.Conn { return s.dial(ctx, handshake) }},
	}
}

// besiege runs all attacks until ctx is done.
func besiege(ctx context.Context, address string, seed uint64) {
	var running sync.WaitGroup
	only := os.Getenv(attacksEnv)
	for i, a := range attacks() {
		if !strings.Contains(a.name, only) {
			continue
		}
		s := &stranger{address: address, rnd: rand.New(rand.NewPCG(seed, uint64(i))), most: a.most}
		running.Go(func() { s.run(ctx, a) })
	}
	running.Wait()
}

const (
	// strangersEnv names the address to attack and makes this test binary the attacking process.
	strangersEnv = "STRANGERS_BESIEGE"
	// attacksEnv selects the attacks whose names contain it, to measure what one of them costs.
	attacksEnv = "STRANGERS_ATTACKS"
)

// besieges runs the attacks in this process if strangersEnv is set, until the parent closes stdin. It reports
// whether it did.
func besieges() bool {
	address := os.Getenv(strangersEnv)
	if address == "" {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	besiege(ctx, address, 3)
	return true
}

// strangers attacks a server from a separate process until end is called. Real strangers would not share the
// machine with the server, so the process runs at the lowest priority and gets only the processor time left
// over.
func strangers(t *testing.T, address string) (end func()) {
	t.Helper()
	cmd := exec.Command("nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), strangersEnv+"="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
}

// resident returns the resident memory of the server in bytes, 0 if it is unknown.
func (s *server) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
