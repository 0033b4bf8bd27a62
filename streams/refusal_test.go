package streams

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// lines is a log output that may be written and read at the same time.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// guarded starts a server with accounts; its user is u with the password p.
func guarded(t *testing.T, config string) (*server.Server, *server.Options) {
	t.Helper()
	opt := parsed(t, config)
	opt.Host, opt.Port, opt.JetStream, opt.StoreDir, opt.NoSigs, opt.NoLog = "127.0.0.1", -1, true, t.TempDir(), true, true
	opt.JetStreamMaxMemory, opt.JetStreamMaxStore = 64<<20, 8<<30
	s, err := server.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(3 * time.Minute) {
		t.Fatal("the NATS server did not start")
	}
	return s, opt
}

func parsed(t *testing.T, config string) *server.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	opt, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return opt
}

// silent is a JetStream that never answers.
type silent struct {
	jetstream.JetStream
	asked chan struct{}
}

func (m silent) Stream(ctx context.Context, _ string) (jetstream.Stream, error) {
	select {
	case m.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestWeeks01PermissionsComeBackWhileNobodyAnswers: before, without permission for the subjects of answers,
// every check of a bucket took its whole time-out, and whether the permission had come back was checked only
// after all of them.
func TestWeeks01PermissionsComeBackWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	s, _ := guarded(t, "")
	l := open(t, Options{URLs: []string{s.ClientURL()}, Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}, AuditInterval: time.Hour})
	asked := make(chan struct{})
	k := newLink(l, "publish")
	k.now.Store(&connection{js: silent{asked: asked}})
	slow := &Work{log: &Log{ctx: l.ctx, js: jets{k}, problems: map[string]problem{}}, stream: "slow"}
	l.mu.Lock()
	l.works = append(l.works, slices.Repeat([]*Work{slow}, 1000)...)
	l.mu.Unlock()
	<-asked
	violation := errors.New(`permissions violation: Permissions Violation for Subscription to "answers"`)
	l.read.deny(violation.Error())
	l.refused("read", violation)
	awaitTrue(t, "the connection is made anew", func() bool { return l.read.conn().Stats().Reconnects > 0 })
}

// TestACanaryThatNobodyAnswered: a permission check without an answer is repeated. Before, no check was made
// any more if a connection had been down at that moment.
func TestACanaryThatNobodyAnswered(t *testing.T) {
	s, _ := guarded(t, "")
	c, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := newLink(&Log{}, "read")
	k.now.Store(&connection{conn: c})
	k.deny(`Permissions Violation for Subscription to "refused"`)
	if k.permitted() || k.canary.sub == nil {
		t.Fatal("nothing is tried")
	}
	s.Shutdown()
	awaitTrue(t, "the connection is away", func() bool { return !c.IsConnected() })
	if k.permitted() {
		t.Error("taken for permitted")
	}
	if k.canary.sub == nil && len(k.canary.denied) == 0 {
		t.Error("it is forgotten")
	}
}

// TestPermissionsThatAreMissing: a missing NATS permission is logged and listed in readiness, and cleared
// soon after it is granted.
func TestPermissionsThatAreMissing(t *testing.T) {
	config := func(subscribe string) string {
		return `authorization {users: [{user: u, password: p, permissions: {publish: ">", subscribe: [` + subscribe + `"_INBOX.>"]}}]}`
	}
	s, opt := guarded(t, config(""))
	said := &lines{}
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}},
		Logger: slog.New(slog.NewTextHandler(said, nil)), AuditInterval: time.Hour,
	})
	got := &sink{}
	at, err := l.Attach(t.Context(), "a", "c", got)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	awaitTrue(t, "readiness names the permission", func() bool {
		return strings.Contains(strings.Join(l.Health().Problems, "\n"), `permissions of the feed connection`)
	})
	if h := l.Health(); h.Ready || !strings.Contains(strings.Join(h.Problems, "\n"), `"rt.a.c"`) {
		t.Errorf("health is %+v", h)
	}
	awaitTrue(t, "the log tells of advisories", func() bool { return strings.Contains(said.String(), "advisories") })
	if text := said.String(); strings.Count(text, "does not permit what a gateway needs") != 1 {
		t.Errorf("the log says\n%s", text)
	}

	next := opt.Clone()
	next.Users = parsed(t, config(`"rt.>", `)).Users
	if err := s.ReloadOptions(next); err != nil {
		t.Fatal(err)
	}
	later := time.Now()
	awaitTrue(t, "the gateway is ready again", func() bool {
		later = later.Add(time.Minute)
		l.checkRefusals(later)
		return l.Health().Ready
	})
	if _, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the event has come live", func() bool { all, _ := got.all(); return len(all) == 1 })
}

func TestPermissionsThatAreMissingAtTheStart(t *testing.T) {
	s, _ := guarded(t, `authorization {users: [{user: u, password: p, permissions: {publish: ["ch.>"], subscribe: ["_INBOX.>"]}}]}`)
	_, err := Open(t.Context(), Options{URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}, StartTimeout: time.Second})
	if err == nil || !strings.Contains(err.Error(), `"$JS.API.INFO"`) {
		t.Errorf("got %v, want the subject that is not permitted", err)
	}
}

// TestLimitsOfTheAccount: if the account allows no more streams or bytes, the error says so.
func TestLimitsOfTheAccount(t *testing.T) {
	t.Parallel()
	account := func(limits string) *server.Server {
		s, _ := guarded(t, "accounts {A {jetstream {"+limits+"}, users: [{user: u, password: p}]}}")
		return s
	}
	options := func(s *server.Server, bytes int64) Options {
		return Options{
			URLs: []string{s.ClientURL()}, User: "u", Password: "p", StartTimeout: time.Second,
			Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxBytes: bytes}},
		}
	}
	for limits, want := range map[string]string{
		"max_streams: 1":    "stream CH_a: the account may have no more streams",
		"max_file: 1048576": "stream CH_a: NATS has no room for 1 copies of 1073741824 bytes",
	} {
		if _, err := Open(t.Context(), options(account(limits), 0)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", limits, err, want)
		}
	}

	l := open(t, options(account("max_file: 1048576"), -1))
	event := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: bytes.Repeat([]byte("x"), 60<<10)}}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = l.Publish(t.Context(), "a", event)
	}
	if !errors.Is(err, broker.ErrUnavailable) || l.Health().Ready {
		t.Fatalf("got %v and %+v, want an event to be refused", err, l.Health())
	}
	if problems := l.Health().Problems; !strings.Contains(strings.Join(problems, "\n"), "storing events of the app a: ") {
		t.Errorf("readiness says %v", problems)
	}
	stream, err := l.admin.Stream(t.Context(), StreamOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), "a", event); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if h := l.Health(); !h.Ready {
		t.Errorf("health is %+v", h)
	}
}
