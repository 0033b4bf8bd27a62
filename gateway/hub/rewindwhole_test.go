package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestRW03LargeEventsDoNotCutARewind: with large events a page of the log ends before its limit. A rewind
// reads further pages until it has what was requested.
func TestRW03LargeEventsDoNotCutARewind(t *testing.T) {
	for _, c := range []struct {
		size, events int
		form         string
		want         rewindSaid
	}{
		{100 << 10, 100, `100`, rewindSaid{History: 100, Complete: true}},
		{100 << 10, 100, `{"seconds":600}`, rewindSaid{History: 100, Complete: true}},
		{100 << 10, 101, `{"seconds":600}`, rewindSaid{History: 100, Limit: true}},
		{100 << 10, 90, `100`, rewindSaid{History: 90, Complete: true}},
		{900 << 10, 20, `19`, rewindSaid{History: 19, Complete: true}},
		{100 << 10, 100, `101`, rewindSaid{History: 100, Limit: true}},
	} {
		t.Run(fmt.Sprintf("%d events of %d bytes, %s", c.events, c.size, c.form), func(t *testing.T) {
			r := timeRig(t, memory.Options{MaxBytes: 64 << 20}, func(_ *Options, a *appT) { a.Limits.MaxHistoryPage = 100 })
			pad := strings.Repeat("x", c.size-4)
			for i := range c.events {
				r.publish("orders", "tick", fmt.Sprintf("%4d", i)+pad)
			}
			p, _ := r.second()
			p.join("orders", `,"rewind":`+c.form)
			for i := range c.want.History {
				want := fmt.Sprintf(`"data":"%4d`, c.events-c.want.History+i) + pad + `"`
				// A JSON decoder looks at each byte, which is slow under the race detector. This does not
				// decode.
				if got := p.frame().payload; !strings.Contains(got, `"event":"tick"`) || !strings.Contains(got, want) {
					t.Fatalf("event %d is %.200s", i, got)
				}
			}
			if got := p.rewound(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			p.alive()
		})
	}
}

// TestRW03WhatIsWholeIsSaidToBe: a rewind is incomplete only if a part of what was requested is known to be
// gone.
func TestRW03WhatIsWholeIsSaidToBe(t *testing.T) {
	hours := func(n int) time.Duration { return time.Duration(n) * time.Hour }
	for name, c := range map[string]struct {
		log     memory.Options
		reading app.Reading
		// old and young are the numbers of events published two hours ago and just now.
		old, young int
		purge      bool
		form       string
		want       rewindSaid
	}{
		"a count, nothing is gone":                          {young: 5, form: `20`, want: rewindSaid{History: 5, Complete: true}},
		"a time, nothing is gone":                           {young: 5, form: `{"seconds":30}`, want: rewindSaid{History: 5, Complete: true}},
		"a count, and some are gone for their age":          {log: memory.Options{MaxAge: hours(1)}, old: 1, young: 5, form: `20`, want: rewindSaid{History: 5, Retention: true}},
		"a time inside of retention":                        {log: memory.Options{MaxAge: hours(1)}, old: 1, young: 5, form: `{"seconds":30}`, want: rewindSaid{History: 5, Complete: true}},
		"a time beyond it":                                  {log: memory.Options{MaxAge: hours(1)}, old: 1, young: 5, form: `{"seconds":9000}`, want: rewindSaid{History: 5, Retention: true}},
		"a time, and the limit took older ones":             {log: memory.Options{MaxMessages: 5}, old: 3, young: 5, form: `{"seconds":30}`, want: rewindSaid{History: 5, Complete: true}},
		"a time, and the limit took some of it":             {log: memory.Options{MaxMessages: 5}, young: 8, form: `{"seconds":30}`, want: rewindSaid{History: 5, Retention: true}},
		"a time, and what may be read ends before it":       {reading: app.Reading{Messages: 7}, old: 9, young: 5, form: `{"seconds":30}`, want: rewindSaid{History: 5, Complete: true}},
		"a time, and what may be read ends in it":           {reading: app.Reading{Messages: 3}, young: 5, form: `{"seconds":30}`, want: rewindSaid{History: 3, Retention: true}},
		"a count, and less may be read":                     {reading: app.Reading{Messages: 3}, young: 5, form: `4`, want: rewindSaid{History: 3, Retention: true}},
		"a count, and all of it was purged":                 {young: 5, purge: true, form: `4`, want: rewindSaid{Retention: true}},
		"a channel of which nothing was ever there, a time": {form: `{"seconds":30}`, want: rewindSaid{Complete: true}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			now := start.Add(-hours(2))
			c.log.Now = func() time.Time { return now }
			r := timeRig(t, c.log, func(o *Options, a *appT) {
				o.LogTime = func() time.Time { return now }
				a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "orders", Reading: c.reading}})
			})
			at, err := r.log.Attach(t.Context(), "app", "orders", deaf{}) // so that the log knows what it lost
			if err != nil {
				t.Fatal(err)
			}
			defer at.Detach()
			r.publish("another", "tick", "0")
			for range c.old {
				r.publish("orders", "tick", "old")
			}
			now = start
			for range c.young {
				r.publish("orders", "tick", "young")
			}
			if c.purge {
				if _, err := r.log.(broker.Eraser).Purge(t.Context(), "app", "orders", 0); err != nil {
					t.Fatal(err)
				}
			}
			p, _ := r.second()
			p.join("orders", `,"rewind":`+c.form)
			p.events(c.want.History)
			if got := p.rewound(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// deaf is a sink that ignores everything.
type deaf struct{}

func (deaf) Publication(*broker.Publication) {}
func (deaf) Gap(broker.Gap)                  {}
