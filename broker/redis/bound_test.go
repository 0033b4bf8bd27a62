package redis

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/test/redisserver"
)

// TestChannelsWithoutABoundAreWarnedOf: with -1 messages a channel that is published to all the time
// grew until the server was full, and nothing said so.
func TestChannelsWithoutABoundAreWarnedOf(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := open(t, redisserver.Start(t).URL(), false, silent, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&out, nil))
		o.Apps = []AppOptions{{ID: "bound", MaxMessages: 100}, {ID: "unbound", MaxMessages: -1}}
	})
	if err := l.Serve(t.Context(), []AppOptions{{ID: "bound", MaxMessages: 100}, {ID: "later", MaxMessages: -1}}, 0); err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // then nobody writes
	for id, want := range map[string]bool{"bound": false, "unbound": true, "later": true} {
		if got := strings.Contains(out.String(), "app="+id+" "); got != want {
			t.Errorf("a warning of %s: %v, want %v: %s", id, got, want, out.String())
		}
	}
}
