package hub

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestTime07AChannelWithoutHistory: if channel_history permits no reading, a client that asks for the history
// is told so, and not that the log is in trouble. There is no snapshot either, whatever else the app
// configures.
func TestTime07AChannelWithoutHistory(t *testing.T) {
	log := &logged{}
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Off: true}}})
		a.Snapshots = []app.SnapshotPattern{{Match: "*", Snapshot: app.Snapshot{On: true}}}
	})
	r.hub.refusals.Pause = time.Hour
	at := r.publishMany("ticker", 1, 5, keyed("a"))
	for name, serial := range map[string]uint64{"behind": 2, "the newest": at.Offset, "from the beginning": 0} {
		p, _ := r.second()
		if m := p.join("ticker", ""); strings.Contains(m.str(), "snapshot") {
			t.Errorf("%s: a snapshot is announced: %s", name, m.text)
		}
		p.from("ticker", at.Epoch, serial, "")
		m := p.next()
		if m.Event == "sockudo:resume_failed" {
			if !strings.Contains(m.str(), "channel_history") || !strings.Contains(m.str(), string(pusher.PersistenceUnavailable)) {
				t.Errorf("%s: told %s", name, m.text)
			}
			m = p.next()
		}
		if m.Event != "sockudo:resume_success" {
			t.Errorf("%s: got %s", name, m.text)
		}
		p.alive()
		p.hangUp()
		rd := r.get("channel=ticker", "Last-Event-ID: "+onePlace(at.Epoch, serial))
		for e := rd.next(); e.kind != "resumed"; e = rd.next() {
			if e.kind != "subscribed" && !(e.kind == "gap" && strings.Contains(e.data, "channel_history")) {
				t.Errorf("%s: a reader got %+v", name, e)
			}
		}
		_ = rd.conn.Close()
	}
	v1, _ := r.connect()
	v1.subscribe("ticker")
	v1.usable()
	log.none(t)
}

func onePlace(stream string, serial uint64) string {
	return string(pusher.AppendPlaces(nil, []pusher.Place{{Stream: stream, Serial: serial}}, 0))
}
