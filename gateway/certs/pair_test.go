package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/gateway/certs/certstest"
)

const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The authority of the tests never ends. The library limits its requests to an authority with
		// goroutines that live as long as the process, and checks every five seconds whether a lock that it
		// holds is gone.
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// journal collects log output.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it does not come to pass that %s", what)
		}
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// following is a pair that follows its files.
type following struct {
	*Pair
	t         *testing.T
	log       journal
	dir       string
	cert, key string
	authority *certstest.Authority
}

func follow(t *testing.T) *following {
	f := &following{t: t, dir: t.TempDir(), authority: certstest.New(t)}
	f.cert, f.key, _ = f.authority.Files(f.dir)
	return f
}

func (f *following) run() {
	f.t.Helper()
	var err error
	f.Pair, err = NewPair(PairOptions{CertFile: f.cert, KeyFile: f.key, MinVersion: tls.VersionTLS12, Every: 2 * time.Millisecond, Logger: f.log.logger()})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); f.Run(ctx, nil) }()
	f.t.Cleanup(func() { cancel(); <-over })
}

// names returns the names in the certificate that is presented.
func (f *following) names() string {
	c, err := f.Config().GetCertificate(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(c.Leaf.DNSNames, " ")
}

// TestRun01APairIsFollowed replaces the files in all usual ways.
func TestRun01APairIsFollowed(t *testing.T) {
	for name, replace := range map[string]func(f *following, cert, key []byte){
		"written into, the key first": func(f *following, cert, key []byte) { write(f.t, f.key, key); write(f.t, f.cert, cert) },
		"renamed over": func(f *following, cert, key []byte) {
			for path, text := range map[string][]byte{f.cert: cert, f.key: key} {
				write(f.t, path+".new", text)
				if err := os.Rename(path+".new", path); err != nil {
					f.t.Fatal(err)
				}
			}
		},
		"removed, and there again": func(f *following, cert, key []byte) {
			_, _ = os.Remove(f.cert), os.Remove(f.key)
			eventually(f.t, "it says that they are gone", func() bool { return len(f.Problems()) > 0 })
			write(f.t, f.cert, cert)
			write(f.t, f.key, key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t)
			f.run()
			cert, key := f.authority.Pair(24*time.Hour, "other.example")
			replace(f, cert, key)
			eventually(t, "the other one is presented", func() bool { return f.names() == "other.example" && len(f.Problems()) == 0 })
		})
	}
}

// TestRun01LinksThatAreSwapped replaces files as Kubernetes replaces a secret.
func TestRun01LinksThatAreSwapped(t *testing.T) {
	f := follow(t)
	place := func(version string, cert, key []byte) {
		dir := filepath.Join(f.dir, version)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "tls.crt"), cert)
		write(t, filepath.Join(dir, "tls.key"), key)
		data := filepath.Join(f.dir, "..data")
		if err := os.Symlink(version, data+"_tmp"); err != nil {
			t.Skip(err)
		}
		if err := os.Rename(data+"_tmp", data); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{f.cert, f.key} {
		_ = os.Remove(path)
		if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil {
			t.Skip(err)
		}
	}
	cert, key := f.authority.Pair(24*time.Hour, "one.example")
	place("..1", cert, key)
	f.run()
	if f.names() != "one.example" {
		t.Fatal(f.names())
	}
	cert, key = f.authority.Pair(24*time.Hour, "two.example")
	place("..2", cert, key)
	eventually(t, "the other one is presented", func() bool { return f.names() == "two.example" })
	if text := f.log.String(); strings.Contains(text, "ERROR") {
		t.Errorf("a swap is no problem:\n%s", text)
	}
}

// TestRun01ABadPairLeavesTheEarlierOne: whatever is wrong with the files, the earlier certificate is still
// presented, and the problem is reported.
func TestRun01ABadPairLeavesTheEarlierOne(t *testing.T) {
	for name, spoil := range map[string]func(f *following, cert, key []byte){
		"half a certificate":        func(f *following, cert, _ []byte) { write(f.t, f.cert, cert[:len(cert)/2]) },
		"an empty key":              func(f *following, _, _ []byte) { write(f.t, f.key, nil) },
		"the key of another one":    func(f *following, _, key []byte) { write(f.t, f.key, key) },
		"the certificate of others": func(f *following, cert, _ []byte) { write(f.t, f.cert, cert) },
		"the two exchanged":         func(f *following, cert, key []byte) { write(f.t, f.cert, key); write(f.t, f.key, cert) },
		"one that has ended": func(f *following, _, _ []byte) {
			cert, key := f.authority.Pair(-time.Minute, "old.example")
			write(f.t, f.cert, cert)
			write(f.t, f.key, key)
		},
		"no key": func(f *following, _, _ []byte) { _ = os.Remove(f.key) },
		"a directory": func(f *following, _, _ []byte) {
			_ = os.Remove(f.key)
			_ = os.Mkdir(f.key, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t)
			f.run()
			cert, key := f.authority.Pair(24*time.Hour, "other.example")
			spoil(f, cert, key)
			eventually(t, "it is said", func() bool {
				return strings.Contains(strings.Join(f.Problems(), " "), "the earlier certificate is still presented") && strings.Contains(f.log.String(), "level=ERROR")
			})
			if f.names() != "localhost" {
				t.Errorf("%s is presented", f.names())
			}
			_ = os.Remove(f.key)
			write(t, f.cert, cert)
			write(t, f.key, key)
			eventually(t, "the good pair is taken over", func() bool { return f.names() == "other.example" && len(f.Problems()) == 0 })
		})
	}
}

// TestRun01ARefusedPairIsTakenOnceThereIsNoBetter: an expired pair is refused while the present one is valid,
// and taken once that has expired as well.
func TestRun01ARefusedPairIsTakenOnceThereIsNoBetter(t *testing.T) {
	f := follow(t)
	now := time.Now()
	p, err := NewPair(PairOptions{CertFile: f.cert, KeyFile: f.key, Logger: f.log.logger(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	f.Pair = p
	cert, key := f.authority.Pair(-time.Minute, "old.example")
	write(t, f.cert, cert)
	write(t, f.key, key)
	p.Reload()
	if f.names() != "localhost" || !strings.Contains(strings.Join(p.Problems(), " "), "has ended at") || p.itsTimeHasCome() {
		t.Errorf("%s is presented, problems %q", f.names(), p.Problems())
	}
	if now = now.Add(31 * 24 * time.Hour); !p.itsTimeHasCome() {
		t.Error("the pair is still refused when the present one has ended as well")
	}
	if p.Reload(); f.names() != "old.example" || p.itsTimeHasCome() {
		t.Errorf("%s is presented", f.names())
	}
}

// TestRun01AStartNeedsAPair: a pair that cannot be used is an error at the start.
func TestRun01AStartNeedsAPair(t *testing.T) {
	f := follow(t)
	write(t, f.key, nil)
	if _, err := NewPair(PairOptions{CertFile: f.cert, KeyFile: f.key}); err == nil || !strings.Contains(err.Error(), "tls.cert_file and tls.key_file") {
		t.Errorf("got %v", err)
	}
}

func TestRun01TheEndOfACertificateIsSaid(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, c := range []struct {
		from, until time.Duration
		want        string
	}{
		{-30 * day, 60 * day, ""}, {-85 * day, 5 * day, "ends at"}, {-90 * day, -time.Hour, "has ended at"}, {time.Hour, 90 * day, "is not valid before"},
		// Certificates that live for six days are renewed after four.
		{-4 * day, 2 * day, ""}, {-5 * day, day, "ends at"},
	} {
		if got := ending(now.Add(c.from), now.Add(c.until), now); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("from %v until %v: %q, want %q", c.from, c.until, got, c.want)
		}
	}
}

// TestRun01CertificatesAreExchangedUnderLoad replaces the pair again and again while clients connect: no
// handshake fails, and each certificate is presented.
func TestRun01CertificatesAreExchangedUnderLoad(t *testing.T) {
	f := follow(t)
	f.run()
	l, err := tls.Listen("tcp", "127.0.0.1:0", f.Config())
	if err != nil {
		t.Fatal(err)
	}
	var serving, clients sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.(*tls.Conn).Handshake()
				_, _ = c.Read(make([]byte, 1))
			})
		}
	})
	stop := make(chan struct{})
	var seen sync.Map
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", l.Addr().String(), &tls.Config{RootCAs: f.authority.Roots(), ServerName: "localhost", MinVersion: tls.VersionTLS12})
				if err != nil {
					t.Errorf("a handshake failed: %v", err)
					return
				}
				seen.Store(c.ConnectionState().PeerCertificates[0].SerialNumber.String(), true)
				_ = c.Close()
			}
		})
	}
	presented := func(n int) bool {
		seen.Range(func(any, any) bool { n--; return true })
		return n <= 0 || t.Failed()
	}
	// Otherwise it is replaced before any client has seen it.
	eventually(t, "the first one is presented", func() bool { return presented(1) })
	for i := range 20 {
		cert, key := f.authority.Pair(24 * time.Hour)
		write(t, f.key, key[:len(key)/2])
		write(t, f.cert, cert)
		write(t, f.key, key)
		eventually(t, "the new one is presented", func() bool { return presented(i + 2) })
	}
	close(stop)
	clients.Wait()
	_ = l.Close()
	serving.Wait()
}
