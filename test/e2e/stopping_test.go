package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluicehq/sluice/gateway/client"
)

// asksReady requests /ready on a new connection.
func asksReady(t *testing.T, address string) (status int, draining bool) {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + address + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct{ Draining bool }
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, said.Draining
}

func dialed(t *testing.T, address string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: "http://" + address, Key: appKey, HandshakeTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// leaves waits for the end of a connection, which must be closed with 4200.
func leaves(t *testing.T, c *client.Client) {
	t.Helper()
	<-c.Done()
	var closed *client.CloseError
	if !errors.As(c.Err(), &closed) || closed.Code != 4200 {
		t.Errorf("a connection ended with %v, want 4200", c.Err())
	}
}

// TestWeeks20ReadySaysNoWhileEverythingGoesOn asks a server to stop. /ready answers 503, and clients that
// connect nevertheless are served.
func TestWeeks20ReadySaysNoWhileEverythingGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, "shutdown: {ready_delay_seconds: 600}"))
	by := newBystander(t, s)
	if status, _ := asksReady(t, s.HTTP); status != http.StatusOK {
		t.Fatalf("/ready answers %d", status)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/ready says no", func() bool {
		status, draining := asksReady(t, s.HTTP)
		return status == http.StatusServiceUnavailable && draining
	})
	dialed(t, s.HTTP)
	by.undisturbed(t)
	if status, _ := asksReady(t, s.HTTP); status != http.StatusServiceUnavailable {
		t.Errorf("/ready answers %d", status)
	}
	s.kill() // rather than wait for the end of the delay
}

// TestWeeks20EverybodyIsAskedToLeaveInTheEnd: the drain closes all connections, those from before the signal
// and those that came during the ready delay.
func TestWeeks20EverybodyIsAskedToLeaveInTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, "shutdown: {ready_delay_seconds: 4, drain_seconds: 30}"))
	early := dialed(t, s.HTTP)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// On a busy machine the delay may be over before a client has connected.
	if late, err := client.Dial(ctx, client.Options{URL: "http://" + s.HTTP, Key: appKey, HandshakeTimeout: patience}); err == nil {
		defer late.Close()
		leaves(t, late)
	} else {
		t.Logf("nobody came in time: %v", err)
	}
	leaves(t, early)
	<-s.done
	if s.err != nil {
		t.Errorf("the server ended with %v", s.err)
	}
}

// TestWeeks20NobodyReadsTheLog closes the pipe of a server's standard output and error, or leaves it unread.
// The server keeps working, and stops in order.
func TestWeeks20NobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"the reader is gone": true, "the reader sleeps": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unread(t, gone)
		})
	}
}

func unread(t *testing.T, gone bool) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(file, []byte(config(dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cmd := exec.Command(tools.sluice, "serve", "--config", file, "--log-level", "debug")
	cmd.Env = unhurried("")
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = writer.Close()
	s := &server{t: t, logs: &transcript{}}
	for in := bufio.NewScanner(reader); s.HTTP == "" && in.Scan(); s.find() {
		s.logs.add(in.Text())
	}
	if s.HTTP == "" {
		t.Fatalf("the server did not say that it serves\n%s", s.logs)
	}
	if gone {
		_ = reader.Close()
	}

	c := dialed(t, s.HTTP)
	// Each of these requests writes log lines, together more than a pipe holds.
	for i := range 1000 {
		if i%300 == 0 {
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		if status, _ := asPage(t, "GET", "http://"+s.HTTP+"/apps/nobody/events", "", "", ""); status != http.StatusMethodNotAllowed {
			t.Fatalf("got %d", status)
		}
	}
	if status, _ := asksReady(t, s.HTTP); status != http.StatusOK {
		t.Fatalf("/ready answers %d", status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	leaves(t, c)
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}
