package embedded

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opt Options) *Server {
	t.Helper()
	s, err := Start(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestServerKeepsWhatWasStored(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Port: -1, StoreDir: dir})
	js, err := jetstream.New(connect(t, "", s.ConnectOptions()...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(context.Background(), "s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.Shutdown()
	again := start(t, Options{Port: -1, StoreDir: dir})
	if again.UncleanBoot() {
		t.Error("an orderly stop counts as a crash of the machine")
	}
	js, err = jetstream.New(connect(t, again.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(context.Background(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("got %d messages after the restart, want 1", got)
	}
}

func TestSecondServerOnTheSameDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, Options{Port: -1, StoreDir: dir})
	_, err := Start(context.Background(), Options{Port: -1, StoreDir: dir})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want an error that names the directory", err)
	}
}

func TestUsedPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	_, err = Start(context.Background(), Options{Port: port, StoreDir: dir})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "nats.embedded.port") {
		t.Errorf("got %v, want an error that names the port", err)
	}
	// What failed must not keep the directory.
	start(t, Options{Port: -1, StoreDir: dir})
}

func TestUnusableDirectoryIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(context.Background(), Options{Port: -1, StoreDir: filepath.Join(file, "store")}); err == nil {
		t.Error("a directory below a file was accepted")
	}
	if _, err := Start(context.Background(), Options{Port: -1}); err == nil {
		t.Error("an empty directory name was accepted")
	}
}

// Whoever comes without credentials may publish events but not write what only
// the log may write.
func TestTrust04GuestCannotWriteWhatOnlyTheLogMay(t *testing.T) {
	for _, prefix := range []string{"", "staging."} {
		t.Run("prefix "+prefix, func(t *testing.T) { guestIsKeptOut(t, prefix) })
	}
}

func guestIsKeptOut(t *testing.T, prefix string) {
	s := start(t, Options{Port: -1, StoreDir: t.TempDir(), Prefix: prefix})
	denied := make(chan error, 10)
	guest := connect(t, s.ClientURL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	ours := connect(t, "", s.ConnectOptions()...)
	got, err := ours.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{
		"rt.app.channel", "rtctr.app.channel", "rtkv.seat.app.c.n.u", "$KV.counters.app", "$KV.cluster.seat.app.c.n.u",
		"gw.app", "rtgw.app", "work.queue", "ep.app.0.channel",
	} {
		if !strings.HasPrefix(subject, "$") {
			subject = prefix + subject
		}
		if err := guest.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-denied:
			if !strings.Contains(err.Error(), subject) {
				t.Errorf("got %v, want a refusal of %s", err, subject)
			}
		case <-time.After(time.Minute):
			t.Fatalf("publishing to %s was not refused", subject)
		}
	}
	if err := guest.Publish(prefix+"ch.app.channel", []byte("event")); err != nil {
		t.Fatal(err)
	}
	m, err := got.NextMsg(10 * time.Second)
	if err != nil || m.Subject != prefix+"ch.app.channel" {
		t.Errorf("got %v %v, want only the event", m, err)
	}
}

func TestCrashOfTheMachineIsNoticed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte("another-boot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !start(t, Options{DontListen: true, StoreDir: dir}).UncleanBoot() {
		t.Error("a marker of another boot was not noticed")
	}
	// A start that fails, or stops before the log has begun a new epoch, must not hide the crash from the next one.
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte("another-boot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if unclean, err := enter(dir); err != nil || !unclean { // all that is left of a start that fails later
		t.Fatalf("unclean is %v, %v", unclean, err)
	}
	for range 2 {
		s := start(t, Options{DontListen: true, StoreDir: dir})
		if !s.UncleanBoot() {
			t.Error("a crash that nothing followed from is forgotten")
		}
		s.Shutdown()
	}
	s := start(t, Options{DontListen: true, StoreDir: dir})
	s.Recovered()
	if text, err := os.ReadFile(filepath.Join(dir, markerName)); err != nil || strings.TrimSpace(string(text)) != bootID() {
		t.Errorf("the marker is %q, %v, want that of this boot", text, err)
	}
	s.Shutdown()
	if start(t, Options{DontListen: true, StoreDir: dir}).UncleanBoot() {
		t.Error("a crash that was recovered from is reported again")
	}
	// A killed process leaves the marker of this boot and has lost nothing.
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte(bootID()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if start(t, Options{DontListen: true, StoreDir: dir}).UncleanBoot() {
		t.Error("a killed process counts as a crash of the machine")
	}
}
