package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// front is a proxy before a server. It can make the server answer every command with an error, in order with
// its earlier answers. Connections stay open.
type front struct {
	t        testing.TB
	listener net.Listener
	to       string
	running  sync.WaitGroup
	// answer is the error, "" for none; asked counts the commands that were answered with it.
	answer atomic.Value
	asked  atomic.Uint64

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newFront(t testing.TB, to string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, listener: l, to: to, open: map[net.Conn]bool{}}
	f.answer.Store("")
	f.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.cut()
		f.running.Wait()
	})
	return f
}

func (f *front) url() string { return "redis://" + f.listener.Addr().String() }

// cut closes all connections.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
}

func (f *front) serve(c net.Conn) {
	server, err := net.Dial("tcp", f.to)
	if err != nil {
		_ = c.Close()
		return
	}
	f.mu.Lock()
	f.open[c] = true
	f.mu.Unlock()
	f.running.Go(func() {
		_, _ = io.Copy(c, server)
		_ = c.Close()
	})
	in := bufio.NewReader(c)
	for {
		request, err := readRequest(in)
		if err != nil {
			break
		}
		if answer := f.answer.Load().(string); answer != "" {
			f.asked.Add(1)
			const script = "return redis.error_reply(ARGV[1])"
			request = fmt.Appendf(nil, "*4\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n$%d\r\n%s\r\n", len(script), script, len(answer), answer)
		}
		if _, err := server.Write(request); err != nil {
			break
		}
	}
	_, _ = c.Close(), server.Close()
	f.mu.Lock()
	delete(f.open, c)
	f.mu.Unlock()
}

// readRequest reads one command and returns its bytes.
func readRequest(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadBytes('\n')
	if err != nil || line[0] != '*' {
		return line, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	request := line
	for range n {
		size, err := in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		length, _ := strconv.Atoi(strings.TrimSpace(string(size[1:])))
		body := make([]byte, length+2)
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, err
		}
		request = append(append(request, size...), body...)
	}
	return request, nil
}

// answers lists error replies of servers, with the words that must name the reason and the way out.
var answers = []struct {
	answer, reason, way string
	lasts               bool
}{
	{"LOADING Redis is loading the dataset in memory", "reading its data back", "INFO persistence", false},
	{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "busy with a script", "SCRIPT KILL", false},
	{"CLUSTERDOWN The cluster is down", "not whole", "CLUSTER NODES", false},
	{"CLUSTERDOWN Hash slot not served", "not whole", "CLUSTER NODES", false},
	{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "without its primary", "redis_url", false},
	{"READONLY You can't write against a read only replica.", "is a replica", "redis_url", false},
	{"NOREPLICAS Not enough good replicas to write.", "fewer replicas", "min-replicas-to-write", false},
	{"TRYAGAIN Multiple keys request during rehashing of slot", "being moved", "redis-cli --cluster fix", false},
	{"ASK 1 127.0.0.1:1", "do not agree", "redis-cli --cluster fix", false},
	{"MOVED 1 127.0.0.1:1", "do not agree", "redis-cli --cluster fix", false},
	{"ERR max number of clients reached", "no more connections", "maxclients", false},
	{"OOM command not allowed when used memory > 'maxmemory'.", "memory of the Redis server is full", "maxmemory", true},
	{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "cannot save", "disk", true},
	{"NOPERM User gateway has no permissions to run the 'evalsha' command", "does not permit", "docs/operations.md", true},
	{"NOAUTH Authentication required.", "does not accept", "redis_url", true},
	{"WRONGPASS invalid username-password pair or user is disabled.", "does not accept", "redis_url", true},
	{"DENIED Redis is running in protected mode because protected mode is enabled", "protected mode", "password", true},
	{"ERR unknown command 'EVALSHA', with args beginning with: ", "does not know a command", "Redis 7", true},
}

// TestWeeks04WhateverAServerAnswers: whatever error a server answers every command with, on existing and on
// new connections, readiness and the log name it in plain words with a way out, in few lines. When it is over
// everything works without a restart and no event is lost.
func TestWeeks04WhateverAServerAnswers(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	for i, c := range answers {
		for _, cut := range []bool{false, true} {
			if cut && i%3 > 0 {
				continue // new connections get the same answer
			}
			t.Run(fmt.Sprintf("%.20s, cut %v", c.answer, cut), func(t *testing.T) {
				t.Parallel()
				f := newFront(t, strings.TrimPrefix(server.URL(), "redis://"))
				said := &told{}
				own := func(o *Options) {
					o.Prefix = fmt.Sprintf("t%d%v:", i, cut)
					for n := range 20 {
						o.Apps = append(o.Apps, AppOptions{ID: fmt.Sprint("more-", n)})
					}
				}
				l := open(t, f.url(), false, own, func(o *Options) {
					o.PublishTimeout = 300 * time.Millisecond
					o.Logger = slog.New(slog.NewTextHandler(said, nil))
				})
				other := open(t, server.URL(), false, own)
				w := attachTo(t, l, "c")
				want := []string{"before"}
				publishOne(t, l, "c", "before")
				f.answer.Store(c.answer)
				if cut {
					f.cut()
				}
				until(t, "the cause is named", func() bool {
					text := problems(l)
					return !l.Health().Ready && strings.Contains(text, c.reason) && strings.Contains(text, c.way) && strings.Contains(text, f.listener.Addr().String())
				})
				// The time-out of a publish may end before there is an answer.
				until(t, "a publish is refused", func() bool {
					_, err := l.Publish(t.Context(), "app-1", plain("c", "refused"))
					var refused *broker.Refused
					told := errors.As(err, &refused)
					if !errors.Is(err, broker.ErrUnavailable) || told && !c.lasts {
						t.Fatalf("a publish got %v", err)
					}
					return told == c.lasts
				})
				for n := range 3 {
					text := fmt.Sprint("meanwhile ", n)
					publishOne(t, other, "c", text)
					want = append(want, text)
				}
				asked := f.asked.Load()
				until(t, "it was asked again and again", func() bool { return f.asked.Load() >= asked+8 })
				if h := l.Health(); h.Ready || len(h.Problems) > 4 {
					t.Errorf("readiness is %v, and says %q", h.Ready, h.Problems)
				}
				if text := said.String(); strings.Count(text, "\n") > 6 {
					t.Errorf("the log says\n%s", text)
				}
				f.answer.Store("")
				until(t, "the log is ready", func() bool { return l.Health().Ready })
				publishOne(t, l, "c", "after")
				want = append(want, "after")
				until(t, "everything is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) >= len(want) })
				pubs, gaps := w.seen()
				var got []string
				for _, p := range pubs {
					got = append(got, string(p.Data))
				}
				if strings.Join(got, ",") != strings.Join(want, ",") || len(gaps) > 0 {
					t.Errorf("delivered were %q with gaps %v, want %q", got, gaps, want)
				}
			})
		}
	}
}

// TestWeeks04AServerThatAnswersSoon: a start waits for a server that may answer in a moment. For any other
// server the error names what is wrong and what to do.
func TestWeeks04AServerThatAnswersSoon(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	for _, c := range answers {
		t.Run(fmt.Sprintf("%.20s", c.answer), func(t *testing.T) {
			t.Parallel()
			f := newFront(t, strings.TrimPrefix(server.URL(), "redis://"))
			f.answer.Store(c.answer)
			done := make(chan error, 1)
			wait := time.Hour
			if c.lasts {
				wait = time.Second
			}
			go func() {
				l, err := Open(t.Context(), Options{URL: Secret(f.url()), Apps: []AppOptions{{ID: "app-1"}}, StartTimeout: wait})
				if err == nil {
					_ = l.Close()
				}
				done <- err
			}()
			if c.lasts {
				if err := <-done; err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), c.way) {
					t.Errorf("got %v", err)
				}
				return
			}
			until(t, "it was asked again and again", func() bool { return f.asked.Load() >= 5 })
			select {
			case err := <-done:
				t.Fatalf("the start has ended: %v", err)
			default:
			}
			f.answer.Store("")
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWeeks04ServersThatPause: real servers that do not serve for a while, each for another reason, are
// named, and acknowledged events are there afterwards.
func TestWeeks04ServersThatPause(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, word, reason string
		args               []string
		pause              func(t *testing.T, s *redisserver.Server) (end func())
	}{
		{"a script that does not end", "BUSY", "busy with a script", []string{"--busy-reply-threshold", "50"}, func(t *testing.T, s *redisserver.Server) func() {
			c, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if _, err := io.WriteString(c, "*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n"); err != nil {
				t.Fatal(err)
			}
			until(t, "the server is busy", func() bool { return strings.Contains(strings.Join(s.Lines("PING"), " "), "BUSY") })
			return func() { s.Do("SCRIPT KILL") }
		}},
		{"too few replicas", "NOREPLICAS", "fewer replicas", nil, func(_ *testing.T, s *redisserver.Server) func() {
			s.Do("CONFIG SET min-replicas-to-write 1")
			return func() { s.Do("CONFIG SET min-replicas-to-write 0") }
		}},
		// Loading each key takes a moment, and the server answers in between.
		{"much to read at the start", "LOADING", "reading its data back", []string{"--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"}, func(t *testing.T, s *redisserver.Server) func() {
			s.Do("DEBUG POPULATE 2000 filler 100")
			s.Do("SAVE")
			s.Kill()
			again := make(chan struct{})
			go func() { defer close(again); s.Restart() }()
			return func() { s.Do("CONFIG SET key-load-delay 0"); <-again }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t, append([]string{"--enable-debug-command", "yes"}, c.args...)...)
			l := open(t, server.URL(), false, func(o *Options) { o.PublishTimeout = 300 * time.Millisecond })
			w := attachTo(t, l, "c")
			publishOne(t, l, "c", "before")
			end := c.pause(t, server)
			until(t, "the cause is named", func() bool {
				// A machine that stands still may leave a publish the time for a single try, which names nothing.
				if _, err := l.Publish(t.Context(), "app-1", plain("refused", "x")); !errors.Is(err, broker.ErrUnavailable) {
					t.Errorf("a publish got %v", err)
				}
				text := problems(l)
				return !l.Health().Ready && strings.Contains(text, c.word) && strings.Contains(text, c.reason)
			})
			end()
			until(t, "the log is ready", func() bool { return l.Health().Ready })
			publishOne(t, l, "c", "after")
			until(t, "both are delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 2 })
			page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 10})
			if _, gaps := w.seen(); err != nil || len(page.Publications) != 2 || len(gaps) > 0 {
				t.Errorf("history is %+v, %v, gaps %v", page, err, gaps)
			}
		})
	}
}

// TestWeeks04AClusterThatIsNotWhole: one missing master stops the whole cluster, which is named. So is a slot
// for which two masters redirect to each other; the gateway does not request it as fast as they answer.
func TestWeeks04AClusterThatIsNotWhole(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t, "--appendonly", "yes", "--appendfsync", "always")
	l := open(t, cluster.URL(), true, func(o *Options) { o.PublishTimeout = time.Second })
	channel := channelAt(l, cluster, 1, "c")
	w := attachTo(t, l, channel)
	publishOne(t, l, channel, "one")
	cluster.Masters[0].Kill()
	until(t, "the cluster is named", func() bool {
		text := problems(l)
		return !l.Health().Ready && strings.Contains(text, "CLUSTERDOWN") && strings.Contains(text, "CLUSTER NODES")
	})
	cluster.Masters[0].Restart()
	until(t, "the log is ready", func() bool { return l.Health().Ready })
	publishOne(t, l, channel, "two")
	until(t, "both are delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 2 })

	// The slot is being moved to a master that does not expect it: requests for keys that are not there yet
	// are redirected to that master, which redirects back.
	const lost = "lost"
	slot := slotOf(l.keys.channel("app-1", lost).live)
	from := cluster.Owner(int(slot))
	to := cluster.Masters[(from+1)%3]
	cluster.Masters[from].Do(fmt.Sprintf("CLUSTER SETSLOT %d MIGRATING %s", slot, to.Lines("CLUSTER MYID")[1]))
	a := administer(t, to)
	asked := 0
	until(t, "readiness names that the servers do not agree", func() bool {
		before := a.number("stats", "total_commands_processed:")
		if _, err := l.Publish(t.Context(), "app-1", plain(lost, "x")); !errors.Is(err, broker.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		asked = a.number("stats", "total_commands_processed:") - before
		return strings.Contains(problems(l), "do not agree who has a slot")
	})
	if asked > 500 {
		t.Errorf("the master was asked %d times in a second", asked)
	}
	cluster.Masters[from].Do(fmt.Sprintf("CLUSTER SETSLOT %d STABLE", slot))
	until(t, "the log is ready again", func() bool { return l.Health().Ready })
	publishOne(t, l, lost, "x")
}
