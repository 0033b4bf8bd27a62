package fault

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that repeats lines.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestProxyDoesWhatItIsTold(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
	say := func(c net.Conn, r *bufio.Reader, text string, within time.Duration) error {
		if _, err := fmt.Fprintln(c, text); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(within))
		got, err := r.ReadString('\n')
		if err == nil && got != text+"\n" {
			err = fmt.Errorf("got %q", got)
		}
		return err
	}
	c, r := dial()
	if err := say(c, r, "passes", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, m := range []Mode{Stall, HalfOpen} {
		p.Set(m)
		if err := say(c, r, "waits", 50*time.Millisecond); err == nil {
			t.Errorf("mode %d let something through", m)
		}
		p.Set(Pass)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if got, err := r.ReadString('\n'); err != nil || got != "waits\n" {
			t.Errorf("mode %d lost what waited: %q, %v", m, got, err)
		}
	}
	p.Delay(20 * time.Millisecond)
	began := time.Now()
	if err := say(c, r, "slow", 10*time.Second); err != nil || time.Since(began) < 40*time.Millisecond {
		t.Errorf("delayed by %v, %v", time.Since(began), err)
	}
	p.Delay(0)
	for _, m := range []Mode{Cut, Reset} {
		c, r := dial()
		if err := say(c, r, "before", 10*time.Second); err != nil {
			t.Fatal(err)
		}
		p.Set(m)
		if err := say(c, r, "after", 10*time.Second); err == nil {
			t.Errorf("mode %d kept the connection", m)
		}
		p.Set(Pass)
	}
}
