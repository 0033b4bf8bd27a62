package process

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestTrust08LimitOfTheCgroupIsFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  int64
	}{
		{"version 2, the group of the process", fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/sluice.service\n"), "sys/fs/cgroup/system.slice/sluice.service/memory.max": file("314572800\n"),
		}, 314572800},
		{"version 2, a group above it", fstest.MapFS{
			"proc/self/cgroup": file("0::/pod/container\n"), "sys/fs/cgroup/pod/memory.max": file("200000000\n"), "sys/fs/cgroup/pod/container/memory.max": file("max\n"),
		}, 200000000},
		{"version 2, the least of several", fstest.MapFS{
			"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/memory.max": file("100\n"), "sys/fs/cgroup/a/b/memory.max": file("300\n"),
		}, 100},
		{"version 2, in a container that sees its group as the root", fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("64000000\n"),
		}, 64000000},
		{"version 2, seen from beside its root", fstest.MapFS{
			"proc/self/cgroup": file("0::/../other\n"), "sys/fs/cgroup/memory.max": file("64000000\n"),
		}, 64000000},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup": file("5:cpu,cpuacct:/x\n4:memory:/docker/1\n"), "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": file("300000000\n"),
		}, 300000000},
		{"version 1 in a container, where the path of the host is not there", fstest.MapFS{
			"proc/self/cgroup": file("4:hugetlb,memory:/docker/1\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("300000000\n"),
		}, 300000000},
		{"both versions", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/a\n0::/a\n"), "sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("9223372036854771712\n"),
			"sys/fs/cgroup/unified/a/memory.max": file("100000000\n"),
		}, 100000000},
		{"version 1 without a limit", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/a\n"), "sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 0},
		{"nonsense", fstest.MapFS{"proc/self/cgroup": file("0::/a\nx\n::\n"), "sys/fs/cgroup/a/memory.max": file("-1\n")}, 0},
		{"no cgroups", fstest.MapFS{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := cgroupLimit(c.files); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestTrust08MemoryIsScarceWhenMuchIsHeld(t *testing.T) {
	held := int64(10 << 20)
	m := &Memory{Limit: 100 << 20, Collector: 90 << 20, Source: "memory.limit", held: func() int64 { return held }}
	if m.Refuse() || m.Problem() != "" {
		t.Errorf("10 of 100 MiB are scarce: %q", m.Problem())
	}
	held, m.looked = 70<<20, time.Time{}
	if !m.Refuse() || m.Refused() != 1 || !strings.Contains(m.Problem(), "memory.limit") {
		t.Errorf("70 of 100 MiB are not scarce: %q, %d refused", m.Problem(), m.Refused())
	}
	free := &Memory{held: func() int64 { return 1 << 50 }}
	if free.Scarce() {
		t.Error("memory without a limit is scarce")
	}
	if n := alive(); n <= 0 {
		t.Errorf("the runtime says that %d bytes are alive", n)
	}
}

// gate returns a listener of a process that may open only so many descriptors.
func gate(t *testing.T, d *Descriptors, class Class, shut func() bool) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = d.Listener(l, class, Refusal, shut)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func answer(t *testing.T, l net.Listener) string {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTrust08RefusedConnectionsAreAnswered(t *testing.T) {
	for _, c := range []struct {
		name string
		d    *Descriptors
		shut func() bool
	}{
		{"no descriptors", &Descriptors{Reserve: 10, limit: func() int { return 12 }}, nil},
		{"no memory", &Descriptors{}, func() bool { return true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := gate(t, c.d, Public, c.shut)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_ = conn.Close()
				}
			}()
			got := answer(t, l)
			if !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "\r\nRetry-After: ") || !strings.HasSuffix(got, "retry soon\n") {
				t.Errorf("got %q", got)
			}
			_ = l.Close()
			<-ended
		})
	}
}

// TestTrust08OwnConnectionsUseHalfOfTheReserve compares the classes where only one of them has room.
func TestTrust08OwnConnectionsUseHalfOfTheReserve(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	dial := (&net.Dialer{}).DialContext
	conn, err := dial(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, ok := numberOf(conn)
	_ = conn.Close()
	if !ok {
		t.Skip("connections have no descriptors here")
	}
	// The next connection gets a descriptor near that number.
	d := &Descriptors{Reserve: 100, limit: func() int { return number + 75 }}
	conn, err = d.Dial(dial)(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("with half of the reserve: %v", err)
	}
	if d.fits(conn, Public) {
		t.Error("a stranger would have been let in")
	}
	_ = conn.Close()
	d.limit = func() int { return number + 25 }
	if _, err = d.Dial(dial)(context.Background(), "tcp", l.Addr().String()); !errors.Is(err, ErrDescriptors) {
		t.Errorf("got %v, want %v", err, ErrDescriptors)
	}
	if d.Refused() != 1 {
		t.Errorf("%d were counted", d.Refused())
	}
}

// TestTrust08MemoryIsFreeAgainWhenItsHoldersAreGone: after a flood has ended, nothing allocates, so the
// collector would not run for minutes, and clients would be refused for memory that is free.
func TestTrust08MemoryIsFreeAgainWhenItsHoldersAreGone(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	m := &Memory{Limit: 32 << 20, Collector: 32 << 20, Source: "memory.limit", held: alive}
	flood := make([]byte, 64<<20)
	runtime.GC()
	if !m.RefuseConnection() {
		t.Fatalf("%d MiB of 32 are not scarce", m.Held()>>20)
	}
	runtime.KeepAlive(flood)
	looked := func(ago time.Duration) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.since = time.Now().Add(-ago)
	}
	looked(-time.Hour) // too recently for another collection, however slow the machine is
	if !m.RefuseConnection() {
		t.Error("the collector was made to look although it has looked a moment ago")
	}
	looked(collectAgain)
	if m.RefuseConnection() {
		t.Errorf("refused for %d MiB that nobody holds any more", m.Held()>>20)
	}
}
