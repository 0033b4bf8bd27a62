package main

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/client"
)

// TestTime03WhoReadsThePastIsToldWhatWentMeanwhile: if all remaining events are removed between two requests,
// no later event can reveal the loss. It is reported all the same.
func TestTime03WhoReadsThePastIsToldWhatWentMeanwhile(t *testing.T) {
	for name, to := range map[string]uint64{"to an end": 1000, "to the end": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.store("c", numbered(1000)...)
			api, err := (&target{url: r.url, app: "app-id", key: "app-key", secret: "app-secret"}).requests()
			if err != nil {
				t.Fatal(err)
			}
			got := uint64(0)
			var told []loss
			p := &past{api: api, channel: "c", lost: func(l loss) { told = append(told, l) }}
			p.stretch.to.serial = to
			read := func() {
				t.Helper()
				if err := p.read(t.Context(), func(i *client.HistoryItem) error {
					if got++; got == 150 {
						_, err := r.log.(broker.Eraser).Purge(t.Context(), "app-id", "c", 0)
						return err
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			read()
			if got == 1000 {
				t.Fatal("all was read before it was removed")
			}
			if len(told) != 1 || told[0] != (loss{After: got}) {
				t.Errorf("told %v after %d of 1000 events", told, got)
			}
			read()
			if len(told) != 1 {
				t.Errorf("told again: %v", told)
			}
		})
	}
}
