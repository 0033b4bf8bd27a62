package hub

import (
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// TestTheStopBetweenHandshakeAndStart closes the hub between the handshake and the start of a connection. The
// connection is told to reconnect elsewhere, like those before it.
func TestTheStopBetweenHandshakeAndStart(t *testing.T) {
	r := newRig(t, nil)
	a, dialect, no := r.hub.admit(httptest.NewRequest("GET", "/app/"+r.app.Key+"?protocol=7", nil))
	if no.code != 0 {
		t.Fatal(no)
	}
	if err := r.hub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(far)
		got <- all
	}()
	c := &Client{hub: r.hub, tenant: a, dialect: dialect, shard: r.hub.hall.Shards[0], began: r.hub.opt.Now()}
	r.hub.start(c, websocket.NewWire(near, nil), "")
	if all, want := <-got, websocket.Closing(uint16(pusher.CloseReconnect), reasonStopping).Bytes(); !bytes.HasSuffix(all, want) {
		t.Errorf("got %q, want %q at the end", all, want)
	}
	if n := r.hub.quota.Here(a.ID); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}
