//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

const (
	// siegeEnv is a duration that shortens the siege of a long run, for measurements.
	siegeEnv        = "STRANGERS_FOR"
	ordinaryClients = 200
	ordinaryRooms   = 10
	// strangersMemory and strangersFiles limit the memory in bytes and the descriptors of the server.
	strangersMemory = 320 << 20
	strangersFiles  = 640
)

// ordinary is a client that records the latency of what it gets.
type ordinary struct {
	conn net.Conn
	// next is the number of the next event; took holds the latency of each event.
	next atomic.Int64
	mu   sync.Mutex
	took []time.Duration
	err  atomic.Pointer[error]
	done chan struct{}
}

// stage is a server with its ordinary clients.
type stage struct {
	t       *testing.T
	server  *server
	http    *http.Client
	clients []*ordinary
	sent    sync.Map // number to time
	n       int64
}

func (o *ordinary) read(s *stage) {
	defer close(o.done)
	in := bufio.NewReaderSize(o.conn, 4096)
	fail := func(err error) { o.err.CompareAndSwap(nil, &err) }
	for {
		text, err := readServerFrame(in)
		if err != nil {
			fail(err)
			return
		}
		at := bytes.Index(text, []byte("number "))
		if at < 0 {
			if bytes.Contains(text, []byte("pusher:ping")) {
				if _, err := io.WriteString(o.conn, clientFrame(0x81, `{"event":"pusher:pong","data":{}}`)); err != nil {
					fail(err)
					return
				}
			}
			if bytes.Contains(text, []byte("error")) {
				fail(fmt.Errorf("got %s", text))
			}
			continue
		}
		number, _, _ := bytes.Cut(text[at+len("number "):], []byte("."))
		n, err := strconv.ParseInt(string(number), 10, 64)
		if want := o.next.Load(); err != nil || n != want {
			fail(fmt.Errorf("got %s, want number %d", text, want))
			return
		}
		if begin, ok := s.sent.Load(n); ok {
			o.mu.Lock()
			o.took = append(o.took, time.Since(begin.(time.Time)))
			o.mu.Unlock()
		}
		o.next.Add(1)
	}
}

// readServerFrame reads one frame of a server and returns its payload.
func readServerFrame(in *bufio.Reader) ([]byte, error) {
	var head [10]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return nil, err
	}
	n := uint64(head[1])
	if more := map[uint64]int{126: 2, 127: 8}[n]; more > 0 {
		if _, err := io.ReadFull(in, head[2:2+more]); err != nil {
			return nil, err
		}
		n = 0
		for _, b := range head[2 : 2+more] {
			n = n<<8 | uint64(b)
		}
	}
	text := make([]byte, n)
	_, err := io.ReadFull(in, text)
	if err == nil && head[0]&0xf == 8 {
		err = fmt.Errorf("closed with %q", text)
	}
	return text, err
}

// publish sends one event to all rooms, and a large one to the strangers that do not read.
func (s *stage) publish() {
	s.t.Helper()
	if s.n%100 == 0 {
		for _, o := range s.clients {
			_, _ = io.WriteString(o.conn, aliveFrame)
		}
	}
	s.sent.Store(s.n, time.Now())
	var channels []string
	for i := range ordinaryRooms {
		channels = append(channels, fmt.Sprint("room-", i))
	}
	if err := publishTo(s.http, s.server.HTTP, channels, "e", fmt.Sprintf("number %d.", s.n)); err != nil {
		s.t.Fatalf("event %d: %v", s.n, err)
	}
	s.n++
}

func (s *stage) bulk() {
	s.t.Helper()
	if err := publishTo(s.http, s.server.HTTP, []string{"bulk"}, "e", strings.Repeat("b", 8<<10)); err != nil {
		s.t.Fatal(err)
	}
}

// watch publishes for a duration. It returns the p99 of the latency in that time, and the most descriptors
// and memory that the server used. No client may be closed or miss an event.
func (s *stage) watch(d time.Duration) (p99 time.Duration, files int, held float64) {
	s.t.Helper()
	for _, o := range s.clients {
		o.mu.Lock()
		o.took = nil
		o.mu.Unlock()
	}
	tick, look := time.NewTicker(50*time.Millisecond), time.NewTicker(500*time.Millisecond)
	defer tick.Stop()
	defer look.Stop()
	sample := func() {
		files = max(files, s.server.openFiles())
		held = max(held, metric(s.t, s.server, "sockudo_memory_held_bytes"))
	}
	for ends := time.After(d); ends != nil; {
		select {
		case <-ends:
			ends = nil
			sample()
		case <-tick.C:
			s.publish()
			s.bulk()
		case <-look.C:
			sample()
		}
	}
	s.settle()
	var all []time.Duration
	for _, o := range s.clients {
		o.mu.Lock()
		all = append(all, o.took...)
		o.mu.Unlock()
	}
	slices.Sort(all)
	return all[len(all)*99/100], files, held
}

// settle waits until all ordinary clients have all events.
func (s *stage) settle() {
	s.t.Helper()
	eventually(s.t, "all ordinary clients have everything", func() bool {
		for i, o := range s.clients {
			if err := o.err.Load(); err != nil {
				s.t.Fatalf("client %d: %v", i, *err)
			}
			if o.next.Load() < s.n {
				return false
			}
		}
		return true
	})
}

func newStage(t *testing.T, limit string) *stage {
	t.Helper()
	yaml := fmt.Sprintf(`mode: production
host: 127.0.0.1
port: 0
metrics: {port: 0}
log: {format: json}
tag_filtering: {enabled: true}
memory: {limit: %d}
websocket: {send_buffer: 16384}
nats: {embedded: {port: -1, store_dir: %q}}
apps: [{id: %s, key: %s, secret: %s}]
`, strangersMemory, filepath.Join(t.TempDir(), "store"), appID, appKey, appSecret)
	s := &stage{t: t, server: serveLimited(t, t.TempDir(), yaml, limit), http: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	t.Cleanup(s.http.CloseIdleConnections)
	for i := range ordinaryClients {
		w := dialWire(t, s.server.HTTP, handshake+subscribeFrame(fmt.Sprint("room-", i%ordinaryRooms)))
		w.until("subscription_succeeded")
		_ = w.conn.SetDeadline(time.Time{})
		o := &ordinary{conn: w.conn, done: make(chan struct{})}
		s.clients = append(s.clients, o)
		go o.read(s)
		t.Cleanup(func() { _ = o.conn.Close(); <-o.done })
	}
	return s
}

// TestTrustStrangersTakeNothing is the third acceptance of Trust: strangers from many addresses run all
// attacks at once beside ordinary clients. The ordinary clients get every event, in order, and none of them
// is closed; the log stores everything; memory and descriptors stay within what docs/operations.md says, and
// go down again. In a long run, without the race detector, the p99 of the ordinary clients stays within twice
// of what it was before (this needs an idle machine, like every measurement).
func TestTrustStrangersTakeNothing(t *testing.T) {
	quiet, loud, limit := 3*time.Second, 10*time.Second, fmt.Sprint("ulimit -n ", strangersFiles)
	if !fault.Long() {
		t.Parallel()
	} else {
		quiet, loud = 30*time.Second, 2*time.Minute
		limit += ` && shift && set -- ` + plainServer(t) + ` "$@"`
	}
	if d, err := time.ParseDuration(os.Getenv(siegeEnv)); err == nil {
		quiet, loud = d/2, d
	}
	s := newStage(t, limit)
	before, _, _ := s.watch(quiet)
	filesBefore, heldBefore := s.server.openFiles(), metric(t, s.server, "sockudo_memory_held_bytes")
	end := strangers(t, s.server.HTTP)
	defer end()
	during, files, held := s.watch(loud)
	resident := s.server.resident()
	end()
	if most := metric(t, s.server, "sockudo_descriptors_limit"); float64(files) > most {
		t.Errorf("%d descriptors of %v were in use", files, most)
	}
	if held > strangersMemory/10*9 {
		t.Errorf("%v bytes of memory were held", held)
	}
	left := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("left: ", left)
		}
	})
	eventually(t, "descriptors and memory are back", func() bool {
		files, connected := s.server.openFiles(), metric(t, s.server, "sockudo_connected")
		waits := metric(t, s.server, "sockudo_socket_queue_held_bytes") + metric(t, s.server, "sockudo_socket_message_bytes")
		held := metric(t, s.server, "sockudo_memory_held_bytes")
		left = fmt.Sprintf("%d descriptors (%d before), %v connections, %v bytes wait, %.0f MB held (%.0f before)", files, filesBefore, connected, waits, held/1e6, heldBefore/1e6)
		return files <= filesBefore+16 && connected == ordinaryClients && waits == 0 && held < heldBefore+(32<<20)
	})
	s.publish()
	s.settle()
	for _, bad := range []string{"critical write error", "panic", "too many open files"} {
		if strings.Contains(s.server.logs.String(), bad) {
			t.Errorf("the server said %q", bad)
		}
	}
	ratio := float64(during) / float64(before)
	t.Logf("p99 %v before, %v during the attacks (%.1f times); at most %d descriptors (%d before) and %.0f MB held (%.0f before), %d MB resident; refused: %v for descriptors, %v for memory",
		before, during, ratio, files, filesBefore, held/1e6, heldBefore/1e6, resident/1e6,
		metric(t, s.server, "sockudo_sockets_refused_total", `reason="descriptors"`), metric(t, s.server, "sockudo_sockets_refused_total", `reason="memory"`))
	if fault.Long() {
		if ratio > 2 {
			t.Errorf("the p99 of ordinary clients was %.1f times that of a quiet run", ratio)
		}
		if resident > strangersMemory {
			t.Errorf("%d MB are resident", resident/1e6)
		}
	}
}

// plainServer builds the server without the race detector, as releases are.
func plainServer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/sluice")
	build.Dir, build.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building sluice: %v\n%s", err, out)
	}
	return path
}
