package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
)

// watchedLog counts reads and calls of CountFrom.
type watchedLog struct {
	*memory.Log
	asked, counted atomic.Int64
}

func (l *watchedLog) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	l.asked.Add(int64(q.Limit))
	return l.Log.Read(ctx, app, channel, q)
}

func (l *watchedLog) CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error) {
	l.counted.Add(1)
	return l.Log.CountFrom(ctx, app, channel, offset)
}

// TestTime06ALogThatCountsIsAsked: optional abilities of a log reach the HTTP API of a gateway. Before, the
// wrapper that bounds publishing hid them, and whole channels were read to be counted.
func TestTime06ALogThatCountsIsAsked(t *testing.T) {
	var log *watchedLog
	r := run(t, func(o *gateway.Options) {
		log = &watchedLog{Log: o.Log.(*moody).Log}
		o.Log = log
		o.Unsigned = true
		a := o.Apps.ByID("app")
		a.HistoryEnabled = true
		a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Age: time.Hour}}})
	})
	for n := range 3 {
		if _, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: fmt.Append(nil, n)}}); err != nil {
			t.Fatal(err)
		}
	}
	status, body := r.request(http.MethodGet, "http://"+r.Addr()+"/apps/app/channels/c/history?limit=2", "")
	if status != http.StatusOK || !strings.Contains(body, `"retained_messages":3`) {
		t.Fatalf("got %d %s", status, body)
	}
	if log.counted.Load() == 0 {
		t.Errorf("%d events were asked for, and nothing counted", log.asked.Load())
	}
	if status, body := r.request(http.MethodGet, "http://"+r.Addr()+"/apps/app/history", ""); status != http.StatusOK || !strings.Contains(body, `"channels":["c"]`) {
		t.Errorf("got %d %s", status, body)
	}
}
