package brokertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

// awkwardNames are channel names that have a meaning in some broker, that are easily confused with each
// other, or that are as long as allowed.
var awkwardNames = []string{
	"a", "A", "b", "a.b", "a.b.c", "a..b", ".", "..", ".a", "a.",
	"*", ">", "a.*", "a.>", "*.b", "?", "[a-b]", "a*",
	"=", "=2E", "==2E", "a=2Eb", "=3D2E", "a=2eb", "%2E",
	"ticker:AAPL", "ticker=3AAAPL", "private-x@y,z;w#q", "presence-a_b-c",
	"$SYS", "$KV.counters", "_INBOX.x", "{a}", "{a}:s", "a/b", `a\b`,
	" ", "a b", "\t", "a\r\nb", "\x00", "\xff\xfe", "é", "e\u0301", "日本", "🚀",
	strings.Repeat("x", 200), strings.Repeat("x", 199) + "y", strings.Repeat("é", 100), strings.Repeat(".", 200),
}

func testIsolation(t *testing.T, b *backend) {
	type place struct{ app, channel string }
	var places []place
	for _, app := range b.Apps {
		for _, channel := range awkwardNames {
			places = append(places, place{app, channel})
		}
	}
	sinks := make([]*recorder, len(places))
	for i, p := range places {
		sinks[i], _ = attach(t, b.Log, p.app, p.channel)
	}
	// Two rounds: a feed is in order within a channel, so a misrouted publication of the first round arrives
	// before the sink's own publication of the second.
	want := make([][]string, len(places))
	newest := make([]broker.Position, len(places))
	for round := range 2 {
		for i, p := range places {
			data := fmt.Sprintf("%d: %q of %q", round, p.channel, p.app)
			newest[i] = publish(t, b.Log, p.app, p.channel, data)[0]
			want[i] = append(want[i], data)
		}
	}
	for i, p := range places {
		t.Run(fmt.Sprintf("channel %.20q of app %s has only its own", p.channel, p.app), func(t *testing.T) {
			pubs := sinks[i].await(t, newest[i].Offset)
			if diff := cmp.Diff(dataOf(pubs), want[i]); diff != "" {
				t.Errorf("delivered (-) and published (+):\n%s", diff)
			}
			settle(t, b.Log, p.app, p.channel, newest[i])
			page := read(t, b.Log, p.app, p.channel, broker.Query{Limit: 100})
			if diff := cmp.Diff(dataOf(page.Publications), want[i]); diff != "" {
				t.Errorf("in history (-) and published (+):\n%s", diff)
			}
		})
	}
}
