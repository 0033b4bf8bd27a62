package cluster

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// TestRun09TheSystemAccountSeesServersAndNoEvents: the administrator of docker-compose.yml's servers can ask
// whether a server is current again, as an upgrade needs it, and sees no events. Gateways and publishers
// cannot ask.
func TestRun09TheSystemAccountSeesServersAndNoEvents(t *testing.T) {
	servers, loaded := startCompose(t)
	connect := func(user, password string) *nats.Conn {
		nc, err := nats.Connect(strings.Join(servers.urls(), ","), nats.UserInfo(user, password), nats.Timeout(patience))
		if err != nil {
			t.Fatal(user, err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	admin := connect("admin", "change-this-system-password")
	// This is the request of `nats server report jetstream`.
	inbox := nats.NewInbox()
	answers, err := admin.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, []byte(`{"streams":true,"config":true}`)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < len(servers.urls()) {
		m, err := answers.NextMsg(patience)
		if err != nil {
			t.Fatalf("%v answered: %v", seen, err)
		}
		var told struct {
			Server server.ServerInfo
			Data   server.JSInfo
		}
		if err := json.Unmarshal(m.Data, &told); err != nil || told.Data.Meta == nil || told.Data.Meta.Leader == "" {
			t.Fatalf("%v: %s", err, m.Data)
		}
		seen[told.Server.Name] = true
	}
	spied, err := admin.SubscribeSync("ch.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}
	for user, password := range map[string]string{"gateway": loaded.NATS.Password.Reveal(), "publisher": "change-this-password-too"} {
		nc := connect(user, password)
		if err := nc.Publish("ch.4711.c", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil || nc.LastError() != nil {
			t.Fatal(err, nc.LastError())
		}
		// The server reports a denied permission before it answers the next request.
		if err := nc.Publish("$SYS.REQ.SERVER.PING.JSZ", nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil || !errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
			t.Errorf("%s may ask servers for what they hold: %v, %v", user, err, nc.LastError())
		}
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := spied.NextMsg(1); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("the system account sees %v, %v", m, err)
	}
}
