package pusher_test

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestCheckEventName(t *testing.T) {
	for _, c := range []struct {
		name, event string
		ok          bool
	}{
		{"a name", "price-update", true},
		{"any text", "Preis geändert 💶", true},
		{"a client event", "client-typing", true},
		{"no name", "", false},
		{"200 bytes", strings.Repeat("a", 200), true},
		{"EV-09 201 bytes", strings.Repeat("a", 201), false},
		{"EV-09 201 bytes in fewer characters", strings.Repeat("é", 100) + "a", false},
		{"not UTF-8", "a\xff", false},
		{"CH-09 pusher:", "pusher:subscribe", false},
		{"CH-09 pusher: alone", "pusher:", false},
		{"CH-09 pusher_internal:", "pusher_internal:member_added", false},
		{"CH-09 sockudo:", "sockudo:delta", false},
		{"CH-09 sockudo_internal:", "sockudo_internal:x", false},
		{"a reserved prefix inside", "my-pusher:x", true},
		{"a reserved prefix without its colon", "pusher-x", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := pusher.CheckEventName(c.event, 200); (err == nil) != c.ok {
				t.Errorf("got %v, want accepted: %v", err, c.ok)
			}
		})
	}
}

func TestCheckSocketID(t *testing.T) {
	for id, ok := range map[string]bool{
		"1234.5678": true, "0.0": true, "": false, ".": false, "1.": false, ".1": false, "1": false,
		"1.2.3": false, "a.1": false, "1.a": false, " 1.2": false, "1.2\n": false, "-1.2": false, "１.２": false,
		strings.Repeat("1", 62) + ".1": true, strings.Repeat("1", 63) + ".1": false,
	} {
		if err := pusher.CheckSocketID(id); (err == nil) != ok {
			t.Errorf("EV-08 %q: got %v, want accepted: %v", id, err, ok)
		}
	}
}
