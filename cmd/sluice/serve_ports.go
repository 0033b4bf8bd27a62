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

// wantedPort is an address to listen on, with the key of its port.
type wantedPort struct{ key, address string }

// wantedPorts returns the configured addresses, without those that take any free port.
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

// checkPlaces returns an error if directories or ports of a server are not available.
func checkPlaces(ctx context.Context, c *configs.Config) error {
	if err := checkDirectories(c); err != nil {
		return err
	}
	return checkPorts(ctx, c)
}

// checkPorts returns an error with all ports that are in use, and a hint. Other errors of listening are left to
// the code that listens.
func checkPorts(ctx context.Context, c *configs.Config) error {
	var taken []error
	for _, w := range wantedPorts(c) {
		l, err := net.Listen("tcp", w.address)
		if err == nil {
			// held until all are tried, so that two keys with the same port are found
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

// unbound returns the addresses on which a server could not listen, without those that a running server with
// this configuration has.
func unbound(ctx context.Context, c *configs.Config) (out []doctor.Address) {
	for _, w := range wantedPorts(c) {
		l, err := net.Listen("tcp", w.address)
		if err == nil {
			defer l.Close()
			continue
		}
		var why syscall.Errno
		if !errors.As(err, &why) {
			continue // the name may become resolvable before the server starts
		}
		out = append(out, doctor.Address{Key: w.key, Address: w.address, Err: why})
	}
	inUse := func(a doctor.Address) bool { return errors.Is(a.Err, syscall.EADDRINUSE) }
	if slices.ContainsFunc(out, inUse) && answers(ctx, c) {
		out = slices.DeleteFunc(out, inUse)
	}
	return out
}

// answers reports whether a server answers at the configured address, ready or not.
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

// portHint returns a hint about the server that has the port, if it is Sluice, and about starting another one.
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
