package brokertest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

// testGateways checks that every log has another log for gateways only. Publications to apps do not reach it,
// whatever the name of the channel, nor the reverse.
func testGateways(t *testing.T, b *backend) {
	app := b.Apps[0]
	orders, _ := attach(t, b.Log, broker.GatewaysApp, app)
	mine, _ := attach(t, b.Log, app, app)
	for _, channel := range []string{
		app, broker.GatewaysApp, broker.GatewaysApp + "." + app, "#sluice-orders", "gw." + app, "../" + broker.GatewaysApp + "/" + app,
		broker.GatewaysApp + ":" + app, "}:" + app, ">", "*",
	} {
		publish(t, b.Log, app, channel, "forged")
	}
	want := number(20)
	newest := publish(t, b.Log, broker.GatewaysApp, app, want...)[19]
	if diff := cmp.Diff(dataOf(orders.await(t, newest.Offset)), want); diff != "" {
		t.Errorf("gateways heard (-) and were told (+):\n%s", diff)
	}
	settle(t, b.Log, broker.GatewaysApp, app, newest)
	page := read(t, b.Log, broker.GatewaysApp, app, broker.Query{Limit: 100})
	if diff := cmp.Diff(dataOf(page.Publications), want); diff != "" {
		t.Errorf("in history (-) and told (+):\n%s", diff)
	}
	last := publish(t, b.Log, app, app, "end")[0]
	if got := fmt.Sprint(dataOf(mine.await(t, last.Offset))); got != "[forged end]" {
		t.Errorf("the channel of the app has %s", got)
	}
	if b.Second != nil {
		other, _ := attach(t, b.Second(t), broker.GatewaysApp, app)
		end := publish(t, b.Log, broker.GatewaysApp, app, "to all")[0]
		if got := fmt.Sprint(dataOf(other.await(t, end.Offset))); got != "[to all]" {
			t.Errorf("the other node has %s", got)
		}
	}
}
