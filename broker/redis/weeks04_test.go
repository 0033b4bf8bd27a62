package redis

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// told is a log output that may be written and read at the same time.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// admin is a connection that stays when further ones are refused.
type admin struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func administer(t *testing.T, s *redisserver.Server) *admin {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &admin{t, c, bufio.NewReader(c)}
}

func (a *admin) do(line string) {
	a.t.Helper()
	if _, err := fmt.Fprintf(a.conn, "%s\r\n", line); err != nil {
		a.t.Fatal(err)
	}
	if answer, err := a.in.ReadString('\n'); err != nil || answer[0] == '-' {
		a.t.Fatalf("%s: %s %v", line, answer, err)
	}
}

// dir returns the directory of the server's files.
func (a *admin) dir() string {
	a.t.Helper()
	if _, err := fmt.Fprint(a.conn, "CONFIG GET dir\r\n"); err != nil {
		a.t.Fatal(err)
	}
	var last string
	for range 5 {
		line, err := a.in.ReadString('\n')
		if err != nil {
			a.t.Fatal(err)
		}
		last = strings.TrimSpace(line)
	}
	return last
}

func problems(l *Log) string { return strings.Join(l.Health().Problems, "\n") }

// ask is do for an answer with a body.
func (a *admin) ask(line string) string {
	a.t.Helper()
	if _, err := fmt.Fprintf(a.conn, "%s\r\n", line); err != nil {
		a.t.Fatal(err)
	}
	var size int
	if _, err := fmt.Fscanf(a.in, "$%d\r\n", &size); err != nil {
		a.t.Fatal(err)
	}
	body := make([]byte, size+2)
	if _, err := io.ReadFull(a.in, body); err != nil {
		a.t.Fatal(err)
	}
	return string(body)
}

// number returns a number from a section of INFO.
func (a *admin) number(section, name string) int {
	a.t.Helper()
	_, rest, _ := strings.Cut(a.ask("INFO "+section), name)
	var n int
	if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
		return 0
	}
	return n
}

// TestWeeks04NoRoomForConnections: before, a server that accepts no more connections was dialed thousands of
// times a second, with a log line each that did not give the reason.
func TestWeeks04NoRoomForConnections(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	said := &told{}
	l := open(t, server.URL(), false, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(said, nil)) })
	w := attachTo(t, l, "c")
	a := administer(t, server)
	a.do("CONFIG SET maxclients 1")
	a.do("CLIENT KILL TYPE pubsub")
	until(t, "the pauses are the longest", func() bool {
		l.subs.mu.Lock()
		defer l.subs.mu.Unlock()
		return l.subs.pauses[""].length == pauseLongest
	})
	// The longest pause may be doubled by its random part.
	longest := time.Now()
	until(t, "a pause has passed", func() bool { return time.Since(longest) > 2*pauseLongest })
	if n := a.number("stats", "rejected_connections:"); n > 60 {
		t.Errorf("the server was asked for %d connections", n)
	}
	until(t, "readiness names the cause and the server", func() bool {
		text := problems(l)
		return !l.Health().Ready && strings.Contains(text, "max number of clients reached") && strings.Contains(text, server.Addr())
	})
	if text := said.String(); strings.Count(text, "\n") > 5 || !strings.Contains(text, "error=") {
		t.Errorf("the log says\n%s", text)
	}
	a.do("CONFIG SET maxclients 100")
	until(t, "the log is ready", func() bool { return l.Health().Ready })
	publishOne(t, l, "c", "x")
	until(t, "the event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
}

// TestWeeks04NoRoomForCommands: the connection for live messages stays, and a server without room for
// connections for commands just closes them. The cause is named nevertheless.
func TestWeeks04NoRoomForCommands(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	said := &told{}
	l := open(t, server.URL(), false, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(said, nil)) })
	a := administer(t, server)
	a.do("CONFIG SET maxclients 1")
	a.do("CLIENT KILL TYPE normal SKIPME yes")
	const cause = "max number of clients reached: the Redis server takes no more connections"
	until(t, "readiness names the cause and the server", func() bool {
		text := problems(l)
		return !l.Health().Ready && strings.Contains(text, cause) && strings.Contains(text, server.Addr())
	})
	if !strings.Contains(said.String(), cause) {
		t.Errorf("the log says\n%s", said.String())
	}
	a.do("CONFIG SET maxclients 100")
	until(t, "the log is ready, and names nothing", func() bool { return l.Health().Ready && problems(l) == "" })
}

// TestWeeks04Refusals: a permanent refusal of a server is returned at once, with the reason, and named until
// it is mended. That needs neither traffic nor a restart.
func TestWeeks04Refusals(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 60<<10)
	for _, c := range []struct {
		name         string
		spoil, mend  func(t *testing.T, a *admin)
		reason, word string
	}{
		{
			"memory", func(t *testing.T, a *admin) {
				a.do(fmt.Sprintf("CONFIG SET maxmemory %d", a.number("memory", "used_memory:")+(1<<20)))
			},
			func(t *testing.T, a *admin) { a.do("CONFIG SET maxmemory 0") }, "memory", "OOM",
		},
		{
			"snapshots", func(t *testing.T, a *admin) {
				dir := a.dir()
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
				a.do(`CONFIG SET save "3600 1"`)
				a.do("BGSAVE")
				until(t, "a snapshot failed", func() bool { return strings.Contains(a.ask("INFO persistence"), "rdb_last_bgsave_status:err") })
			},
			func(t *testing.T, a *admin) { a.do("CONFIG SET stop-writes-on-bgsave-error no") }, "disk", "MISCONF",
		},
		{
			"rights", func(t *testing.T, a *admin) { a.do("ACL SETUSER gateway -evalsha -eval") },
			func(t *testing.T, a *admin) { a.do("ACL SETUSER gateway +evalsha +eval") }, "permit", "NOPERM",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			a := administer(t, server)
			a.do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + rights(t))
			// With this time-out the test would not end if a publish waited.
			l := open(t, strings.Replace(server.URL(), "redis://", "redis://gateway:secret@", 1), false,
				func(o *Options) { o.PublishTimeout = time.Hour })
			c.spoil(t, a)
			var err error
			for i := 0; err == nil && i < 100; i++ {
				_, err = l.Publish(t.Context(), "app-1", plain(fmt.Sprint("c", i), large))
			}
			var refused *broker.Refused
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.reason) || !errors.Is(err, broker.ErrUnavailable) {
				t.Fatalf("got %v, want a refusal because of %q", err, c.reason)
			}
			text := problems(l)
			if l.Health().Ready || !strings.Contains(text, "storing events: ") || !strings.Contains(text, c.word) || !strings.Contains(text, server.Addr()) {
				t.Errorf("readiness says %q", text)
			}
			probed := l.probes.Load()
			until(t, "it was tried again", func() bool { return l.probes.Load() >= probed+3 })
			if l.Health().Ready {
				t.Error("all is said to be well")
			}
			c.mend(t, a)
			until(t, "the log is ready", func() bool { return l.Health().Ready })
			publishOne(t, l, "c", large)
		})
	}
}

// TestWeeks04ServersThatCannotBe: the start fails, and the error says what is wrong with the server.
func TestWeeks04ServersThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := newAuthority(t, dir)
	cert, key := authority.issue(t, dir, "server")
	port := fmt.Sprint(fault.Ports(t, 1)[0])
	server := redisserver.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", authority.file)
	server.Do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + rights(t))
	replica := redisserver.Start(t, "--replicaof", "127.0.0.1", "1")
	full := redisserver.Start(t)
	a := administer(t, full)
	a.do("CONFIG SET maxclients 1")
	locked := redisserver.Start(t)
	locked.Do("CONFIG SET requirepass secret")
	for _, c := range []struct{ name, url, want string }{
		{"a replica", replica.URL(), "the server is a replica"},
		{"TLS for a port without", strings.Replace(server.URL(), "redis:", "rediss:", 1), "TLS"},
		{"a port for TLS without", "redis://127.0.0.1:" + port, "rediss://"},
		{"no room", full.URL(), "max number of clients reached"},
		{"no password", locked.URL(), "NOAUTH"},
		{"wrong password", strings.Replace(server.URL(), "redis://", "redis://gateway:guess@", 1), "WRONGPASS"},
		{"nobody there", "redis://127.0.0.1:" + fmt.Sprint(fault.Ports(t, 1)[0]), "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // each takes the whole start time-out
			_, err := Open(t.Context(), Options{URL: Secret(c.url), Apps: []AppOptions{{ID: "a"}}, StartTimeout: 15 * time.Second})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Redis server 127.0.0.1:") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), ": EOF: ")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestWeeks04ReplicaThatTakesOver: a gateway that starts while another server takes over waits for it.
func TestWeeks04ReplicaThatTakesOver(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, "--replicaof", "127.0.0.1", "1")
	done := make(chan error, 1)
	var l *Log
	go func() {
		var err error
		l, err = Open(t.Context(), Options{URL: Secret(server.URL()), Apps: []AppOptions{{ID: "app-1"}}, StartTimeout: time.Minute})
		done <- err
	}()
	a := administer(t, server)
	until(t, "the role was asked for", func() bool { return a.number("commandstats", "cmdstat_info:calls=") > 20 })
	server.Do("REPLICAOF NO ONE")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// TestWeeks04PasswordThatChanges: the password is read anew for each connection, and meanwhile /ready says
// what is wrong.
func TestWeeks04PasswordThatChanges(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	a := administer(t, server)
	a.do("ACL SETUSER gateway on >one ~sluice:* &sluice:* " + rights(t))
	with := func(password string) Secret {
		return Secret(strings.Replace(server.URL(), "redis://", "redis://gateway:"+password+"@", 1))
	}
	var source atomic.Value
	source.Store(with("one"))
	said := &told{}
	l := open(t, string(with("one")), false, func(o *Options) {
		o.URLSource = func() (Secret, error) { return source.Load().(Secret), nil }
		o.Logger = slog.New(slog.NewTextHandler(said, nil))
	})
	w := attachTo(t, l, "c")
	a.do("ACL SETUSER gateway resetpass >two")
	a.do("CLIENT KILL USER gateway")
	until(t, "readiness names the cause", func() bool {
		return !l.Health().Ready && strings.Contains(problems(l), "live feed: the Redis server "+server.Addr()+": WRONGPASS")
	})
	source.Store(with("two"))
	until(t, "the log is ready", func() bool { return l.Health().Ready })
	publishOne(t, l, "c", "x")
	until(t, "the event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	if text := said.String(); strings.Count(text, "\n") > 8 {
		t.Errorf("the log says\n%s", text)
	}
}

// TestWeeks04ServerBecomesReplica: a server that is made a replica while a gateway uses it is named as a
// replica, and everything works soon after it is a primary again.
func TestWeeks04ServerBecomesReplica(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, func(o *Options) { o.AuditInterval, o.PublishTimeout = 100*time.Millisecond, 300*time.Millisecond })
	server.Do("REPLICAOF 127.0.0.1 1")
	until(t, "readiness names the role", func() bool {
		return !l.Health().Ready && strings.Contains(problems(l), "Redis server "+server.Addr()+": the server is a replica")
	})
	if _, err := l.Publish(t.Context(), "app-1", plain("c", "x")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	server.Do("REPLICAOF NO ONE")
	until(t, "the log is ready", func() bool { return l.Health().Ready })
	publishOne(t, l, "c", "x")
}
