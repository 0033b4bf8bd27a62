package streams

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestWayIn04TheTimeIsDividedAmongAddresses: the first addresses of a name may be dead. All of them together
// take no longer than the time-out for one.
func TestWayIn04TheTimeIsDividedAmongAddresses(t *testing.T) {
	const timeout = time.Hour
	s, _ := external(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	dead := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	live := "127.0.0.1"
	for _, c := range []struct {
		about   string
		found   []string
		inOrder bool
		want    string // of the error, empty for none
	}{
		{"the last one lives", append(slices.Clone(dead), live), true, ""},
		{"one of them lives", append([]string{live}, dead...), false, ""},
		{"the only one lives", []string{live}, false, ""},
		{"none lives", dead, false, "i/o timeout"},
		{"the name has none", nil, false, "lookup servers: no address"},
	} {
		t.Run(c.about, func(t *testing.T) {
			var mu sync.Mutex
			var given []time.Duration
			o := nats.GetDefaultOptions()
			o.Timeout, o.NoRandomize = timeout, c.inOrder
			o.Dialer = &net.Dialer{ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
				by, _ := ctx.Deadline()
				mu.Lock()
				given = append(given, time.Until(by))
				mu.Unlock()
				if host, _, _ := net.SplitHostPort(address); slices.Contains(dead, host) {
					return os.ErrDeadlineExceeded
				}
				return nil
			}}
			d := newNameDialer(&o)
			d.lookUp = func(_ context.Context, host string) ([]string, error) {
				if host != "servers" {
					t.Errorf("%q is looked up", host)
				}
				return slices.Clone(c.found), nil
			}
			conn, err := d.Dial("tcp", net.JoinHostPort("servers", port))
			if err == nil {
				_ = conn.Close()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			for _, g := range given {
				if part := timeout / time.Duration(len(c.found)); g > part || g < part-timeout/10 {
					t.Errorf("an address of %d had %v", len(c.found), g)
				}
			}
			if c.inOrder && len(given) != len(c.found) {
				t.Errorf("%d of %d were tried", len(given), len(c.found))
			}
		})
	}
}

// TestWayIn04NamesAreLookedUp: names that the library would look up are looked up, within the time-out, and
// nothing else is.
func TestWayIn04NamesAreLookedUp(t *testing.T) {
	fails := errors.New("no server for names")
	dial := func(o nats.Options, address string) (looked bool, err error) {
		d := newNameDialer(&o)
		if d.lookUp != nil {
			d.lookUp = func(ctx context.Context, _ string) ([]string, error) {
				looked = true
				if _, bounded := ctx.Deadline(); bounded != (o.Timeout > 0) {
					t.Errorf("bounded %v with a time of %v", bounded, o.Timeout)
				}
				return nil, fails
			}
		}
		d.dialer.ControlContext = func(context.Context, string, string, syscall.RawConn) error { return os.ErrPermission }
		_, err = d.Dial("tcp", address)
		return looked, err
	}
	for _, c := range []struct {
		address string
		skip    bool
		timeout time.Duration
		looked  bool
	}{
		{"localhost:4222", false, time.Minute, true}, {"localhost:4222", false, 0, true}, {"localhost:4222", true, time.Minute, false},
		{"127.0.0.1:4222", false, time.Minute, false}, {"[::1]:4222", false, time.Minute, false},
	} {
		looked, err := dial(nats.Options{SkipHostLookup: c.skip, Timeout: c.timeout}, c.address)
		if looked != c.looked || err == nil || errors.Is(err, fails) != c.looked {
			t.Errorf("%+v: looked up %v: %v", c, looked, err)
		}
	}
	// The whole dial, with a name that the system resolves.
	s, opt := external(t)
	opt.URLs = []string{strings.Replace(s.ClientURL(), "127.0.0.1", "localhost", 1)}
	publishText(t, open(t, opt), "c", "1")
}
