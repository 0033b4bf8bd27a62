package pusher_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestTextsCostLittle: a text of a client is not expanded to many times its size before its limits are
// checked. The error names the mistake.
func TestTextsCostLittle(t *testing.T) {
	list := func(element string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	channels := make([]string, 100)
	filter := func(text string) error { _, err := pusher.ParseFilter(text); return err }
	for _, c := range []struct {
		about, text string
		read        func(string) error
		want        string
	}{
		{"algorithms", `{"algorithms":` + list("0", 500_000) + `}`, func(text string) error { _, err := pusher.ParseEnableDelta(text); return err },
			"algorithms has 500000 entries, the limit is 16"},
		{"positions", `{"channel_positions":{` + strings.TrimPrefix(strings.Repeat(`,"c":{"serial":1}`, 50_000), ",") + `}}`,
			func(text string) error { _, err := pusher.ParseResume(text, 100); return err }, `channel_positions has "c" twice`},
		{"places", strings.Repeat(",", 21_000) + fmt.Sprintf(";%08x", pusher.ChannelsSum(channels)),
			func(text string) error { _, err := pusher.ParsePlaces(text, channels); return err }, "it has 21001 positions for 100 channels"},
		{"nodes", `{"op":"and","nodes":` + list("0", 8000) + `}`, filter, "filter: a node is not an object"},
		{"nodes of nothing", `{"op":"or","nodes":` + list(`{"key":"a","cmp":"ex"}`, 128) + `}`, filter, "filter has more than 128 nodes"},
		{"negated nodes", `{"op":"not","nodes":` + list("{}", 5000) + `}`, filter, "filter: not has 5000 nodes, must have one"},
		{"values", `{"key":"a","cmp":"in","vals":` + list("0", 8000) + `}`, filter, "filter: vals of in must have 1 to 128 values"},
		{"names of events", `{"events":` + list(`"a"`, 4000) + `}`, filter, "filter.events has 4000 names, the limit is 50"},
		{"names of events, one of them wrong", `{"events":` + list(`"a"`, 4000)[:15_000] + `,1]}`, filter, "filter.events: a name has 1 to 200 bytes"},
	} {
		t.Run(c.about, func(t *testing.T) {
			var err error
			cost := allocated(func() { err = c.read(c.text) })
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if limit := uint64(16*len(c.text) + 4<<10); cost > limit {
				t.Errorf("%d bytes cost %d, more than %d", len(c.text), cost, limit)
			}
		})
	}
}
