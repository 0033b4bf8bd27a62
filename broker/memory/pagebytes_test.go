package memory

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// A page ends where its events carry too much, wherever they carry it.
func TestPagesAreBoundedByAllThatEventsCarry(t *testing.T) {
	large := strings.Repeat("x", 15<<10)
	for name, ev := range map[string]broker.Event{
		"data":   {Name: "e", Data: []byte(large)},
		"extras": {Name: "e", Data: []byte("1"), Extras: []byte(`{"x":"` + large + `"}`)},
		"tags":   {Name: "e", Data: []byte("1"), Tags: map[string]string{"a": large}},
	} {
		l, err := New(Options{Apps: []string{"app"}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		const events = 600
		for range events {
			if _, err := l.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &ev}); err != nil {
				t.Fatal(err)
			}
		}
		for _, newestFirst := range []bool{false, true} {
			page, err := l.Read(t.Context(), "app", "c", broker.Query{Limit: 1000, NewestFirst: newestFirst})
			if n := len(page.Publications) * len(large); err != nil || !page.More || n < broker.PageBytes-len(large) || n > broker.PageBytes+len(large) {
				t.Errorf("%s, newest first %t: a page has %d events of %d bytes, more %t, %v", name, newestFirst, len(page.Publications), len(large), page.More, err)
			}
		}
	}
}
