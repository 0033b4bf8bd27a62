package gateway_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway"
)

// TestTheOnlyGatewayIsThereForThoseWhoComeBack: while its clients leave, the only gateway keeps its port open
// for them and for requests. A browser gives up an event stream that is answered with an error, so the
// response breaks off.
func TestTheOnlyGatewayIsThereForThoseWhoComeBack(t *testing.T) {
	var said journal
	r := run(t, func(o *gateway.Options) {
		o.Linger, o.Drain, o.Unsigned, o.Logger = patience, patience, true, slog.New(slog.NewTextHandler(&said, nil))
	})
	first := r.dial(upgradeOf("/app/key?protocol=7"))
	first.until("pusher:connection_established")
	r.stop()
	first.until(`{"code":4200,`)
	if status, text := r.request(http.MethodPost, "http://"+r.Addr()+"/apps/app/events", `{"name":"e","channel":"c","data":"{}"}`); status != http.StatusOK {
		t.Errorf("a publish was answered %d %s", status, text)
	}
	events := r.dial("GET /app/key/events?channel=c HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if text, err := io.ReadAll(events.in); err != nil || len(text) > 0 {
		t.Errorf("an event stream was answered %q, %v", text, err)
	}
	r.dial(upgradeOf("/app/key?protocol=7")).until(`{"code":4100,`)
	if text := said.String(); strings.Contains(text, "connections are refused") {
		t.Errorf("it warns of those who come back as they were asked to: %s", text)
	}
}

// TestAStopWithoutWebSocketsIsNotHeldUp: without WebSockets the stop does not wait.
func TestAStopWithoutWebSocketsIsNotHeldUp(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.Linger, o.Drain = 2*patience, 2*patience })
	r.stop()
	r.over <- <-r.over // the cleanup of the test waits for less than that
}
