package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
)

// oldestServer is the oldest NATS server that Sluice supports, as scripts/test installs it.
const oldestServer = "nats-server-2.11.0"

func runOldest(t *testing.T) (url string) {
	t.Helper()
	program, err := exec.LookPath("../../.cache/bin/" + oldestServer)
	if err != nil {
		t.Skipf("%s is not installed, scripts/test does it: %v", oldestServer, err)
	}
	if program, err = filepath.Abs(program); err != nil {
		t.Fatal(err)
	}
	port := fault.Ports(t, 1)[0]
	cmd := exec.CommandContext(context.Background(), program, "-a", "127.0.0.1", "-p", fmt.Sprint(port), "-js", "-sd", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	await(t, "the server answers", func() bool {
		c, err := nats.Connect("nats://" + address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "nats://" + address
}

// TestWeeks02TheOldestServer: everything that a gateway needs works with the oldest supported server.
func TestWeeks02TheOldestServer(t *testing.T) {
	url := runOldest(t)
	l, err := open(t, configured(t, url))
	if err != nil {
		t.Fatal(err)
	}
	work(t, l)
	// A second gateway finds what the first has made.
	if l, err = open(t, configured(t, url)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenTable(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestWayIn02TheOldestServerStoresBatchesOneByOne: this server does not support atomic batches, and the
// events are stored one by one.
func TestWayIn02TheOldestServerStoresBatchesOneByOne(t *testing.T) {
	c := configured(t, runOldest(t))
	c.HTTP.AtomicBatches = "always"
	l, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	var events []broker.Outgoing
	for i := range 9 {
		events = append(events, broker.Outgoing{Channel: fmt.Sprint("c", i%4), Event: &broker.Event{Name: "e", Data: []byte("1"), DedupID: fmt.Sprint("k", i)}})
	}
	first, err := l.Publish(t.Context(), "a", events...)
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.Publish(t.Context(), "a", events...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if first[i].Duplicate || !again[i].Duplicate || again[i].Position != first[i].Position || i > 3 && first[i].Position.Offset <= first[i-4].Position.Offset {
			t.Errorf("event %d: first %+v, again %+v", i, first[i], again[i])
		}
	}
}

// TestWeeks02TheOldestServerForgets: records of the table expire by their own age there as well.
func TestWeeks02TheOldestServerForgets(t *testing.T) {
	l, err := open(t, configured(t, runOldest(t)))
	if err != nil {
		t.Fatal(err)
	}
	table, err := l.OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Put(t.Context(), "seat.a", []byte("1"), time.Second); err != nil {
		t.Fatal(err)
	}
	await(t, "the record is gone", func() bool {
		all, err := table.List(t.Context(), "seat.>")
		return err == nil && len(all) == 0
	})
}
