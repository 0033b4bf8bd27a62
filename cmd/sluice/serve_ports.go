package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/doctor"
	"github.com/sluicehq/sluice/configs"
)

// wantedPort is an address that a server listens on, and the key that sets its port.
type wantedPort struct{ key, address string }

// wantedPorts are those that the configuration names; any free one is always free.
func wantedPorts(c *configs.Config) []wantedPort {
	var out []wantedPort
	want := func(key, host string, port int) {
		if port > 0 {
			out = append(out, wantedPort{key, net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))})
		}
	}
	want("port", c.Host, c.Port)
	want("tls.http_port", c.Host, c.TLS.HTTPPort)
	want("metrics.port", c.Metrics.Host, c.Metrics.Port)
	if c.Console.Enabled {
		want("console.port", c.Console.Host, c.Console.Port)
	}
	if host, port, err := net.SplitHostPort(c.Pprof); err == nil {
		n, _ := strconv.Atoi(port)
		want("debug.pprof", host, n)
	}
	if c.Driver == "nats" && c.Embeds() {
		want("nats.embedded.port", c.NATS.Embedded.Host, c.NATS.Embedded.Port)
	}
	return out
}

// checkPlaces says which directories and ports a server could not have.
func checkPlaces(ctx context.Context, c *configs.Config) error {
	if err := checkDirectories(c); err != nil {
		return err
	}
	return checkPorts(ctx, c)
}

// checkPorts names all ports that are in use at once, and says what to do. Other troubles of
// listening are told by who listens.
func checkPorts(ctx context.Context, c *configs.Config) error {
	var taken []error
	for _, w := range wantedPorts(c) {
		l, err := net.Listen("tcp", w.address)
		if err == nil {
			// Held until all are tried, so that two keys with the same port are found.
			defer l.Close()
			continue
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			taken = append(taken, fmt.Errorf("cannot listen on %s (%s): %w", w.address, w.key, syscall.EADDRINUSE))
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return hinted{errors.Join(taken...), portHint(ctx, c)}
}

// unbound are the addresses that a server could not listen on, none of those that a server of this
// configuration has now.
func unbound(ctx context.Context, c *configs.Config) (out []doctor.Address) {
	for _, w := range wantedPorts(c) {
		l, err := net.Listen("tcp", w.address)
		if err == nil {
			defer l.Close()
			continue
		}
		var why syscall.Errno
		if !errors.As(err, &why) {
			continue // A name that cannot be resolved now may be when the server starts.
		}
		out = append(out, doctor.Address{Key: w.key, Address: w.address, Err: why})
	}
	inUse := func(a doctor.Address) bool { return errors.Is(a.Err, syscall.EADDRINUSE) }
	if slices.ContainsFunc(out, inUse) && answers(ctx, c) {
		out = slices.DeleteFunc(out, inUse)
	}
	return out
}

// answers says whether a server answers, ready or not, where the configuration has it.
func answers(ctx context.Context, c *configs.Config) bool {
	address, err := addressOf(c)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = (&healthOptions{url: address, tls: ownTLS(c), dial: ownDial(c)}).ask(ctx, "/ready")
	var unready notReady
	return err == nil || errors.As(err, &unready)
}

// portHint says how to look at the server that has the port, if it is Sluice, and how to
// start another one.
func portHint(ctx context.Context, c *configs.Config) string {
	other := "Another server needs ports of its own: --port 0 --metrics-port 0 takes free ones"
	if c.Driver == "nats" && c.Embeds() {
		other = "Another server needs ports and a directory of its own: --port 0 --metrics-port 0 --nats-embedded-port 0 --nats-embedded-store-dir DIR"
	}
	address, err := addressOf(c)
	if err != nil {
		return other + "."
	}
	if !answers(ctx, c) {
		return other + "."
	}
	return fmt.Sprintf("Sluice runs already at %[1]s: look at it with `sluice health --url %[1]s` or `sluice channels --url %[1]s`, or at %[1]s/ if it shows its page.\n  %[2]s.", address, other)
}
