package main

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/test/fault"
)

// TestCommandsReachAServerBehindAProxyOfThisMachine: such a server closes connections from trusted proxies
// without a PROXY header. Its own commands send one.
func TestCommandsReachAServerBehindAProxyOfThisMachine(t *testing.T) {
	for _, trusted := range []string{"127.0.0.1", "10.0.0.1"} {
		file := written(t, doctorApp+fmt.Sprintf("mode: production\nhost: 127.0.0.1\nport: %d\nmetrics: {port: -1}\nadapter: {driver: local}\nshutdown: {ready_delay_seconds: 0}\n"+
			"trusted_proxies: [%s]\nproxy_header: none\nproxy_protocol: required\n", fault.Ports(t, 1)[0], trusted))
		server := start(t, nil, "serve", "--config", file)
		server.errors.await(t, "sluice is serving")
		subscriber := start(t, nil, "subscribe", "lobby", "-n", "1", "--config", file)
		subscriber.errors.await(t, "subscribed to lobby")
		for _, args := range [][]string{{"health"}, {"health", "--live"}, {"publish", "lobby", "x"}, {"channels"}} {
			if status, _, said := execute(t, "", append(args, "--config", file)...); status != exitOK {
				t.Errorf("%q, where %s is trusted: status %d, %s", args, trusted, status, said)
			}
		}
		if status := subscriber.wait(); status != exitOK {
			t.Errorf("subscribe, where %s is trusted: status %d, %s", trusted, status, subscriber.errors)
		}
		server.interrupt()
		_ = server.wait()
	}
}
