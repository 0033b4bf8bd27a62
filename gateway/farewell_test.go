package gateway_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/kv"
)

// punctual is a table that does nothing for those whose time is over, like one over a network.
type punctual struct{ kv.Table }

func (p punctual) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.Table.Put(ctx, key, value, ttl)
}

// TestAStopWithoutTimeForConnectionsTakesItsLeave: otherwise the others count the members of this gateway until its
// lease has ended. Nor is there anything to warn of if there were no connections.
func TestAStopWithoutTimeForConnectionsTakesItsLeave(t *testing.T) {
	var said bytes.Buffer
	r := run(t, func(o *gateway.Options) {
		o.Drain, o.Table, o.Logger = time.Nanosecond, punctual{kv.NewMemoryTable(nil)}, slog.New(slog.NewTextHandler(&said, nil))
	})
	r.request("GET", "http://"+r.Addr()+"/health", "")
	r.stop()
	r.over <- <-r.over
	if text := said.String(); strings.Contains(text, "level=WARN") || !strings.Contains(text, "stopping") {
		t.Errorf("the log of the stop: %s", text)
	}
}
