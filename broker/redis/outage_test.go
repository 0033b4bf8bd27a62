package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

func plain(channel, data string) broker.Outgoing {
	return broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(data)}}
}

// TestReadyAgainWithoutTraffic: a gateway that is not ready gets no traffic, so the
// problem of a publish that was given up must not wait for the next one to go away.
func TestReadyAgainWithoutTraffic(t *testing.T) {
	server := redisserver.Start(t, "--appendonly", "yes")
	l := open(t, server.URL(), false, func(o *Options) { o.PublishTimeout = 300 * time.Millisecond })
	server.Kill()
	if _, err := l.Publish(t.Context(), "app-1", plain("c", "x")); err == nil {
		t.Fatal("published to a dead server")
	}
	if problems := strings.Join(l.Health().Problems, "\n"); !strings.Contains(problems, "storing events") {
		t.Fatalf("the problems are %q, want one about storing events", problems)
	}
	server.Restart()
	until(t, "the log is ready again", func() bool { return l.Health().Ready })
}
