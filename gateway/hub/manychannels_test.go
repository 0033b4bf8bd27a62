package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// questions is a history that calls read, if set, before each page.
type questions struct {
	broker.History
	mu   sync.Mutex
	read func(ctx context.Context) error
}

func (a *questions) by(read func(ctx context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read = read
}

func (a *questions) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	a.mu.Lock()
	read := a.read
	a.mu.Unlock()
	if read != nil {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	return a.History.Read(ctx, app, channel, q)
}

// threeChannels returns a rig with three attached channels whose visible history is limited, so that the log
// has to be read.
func threeChannels(t *testing.T) (*rig, *questions, []pusher.Place) {
	log := &questions{}
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		log.History, o.History = o.History, log
		a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Messages: 100}}})
	})
	p, _ := r.second()
	var places []pusher.Place
	for _, name := range []string{"a", "b", "c"} {
		p.join(name, "")
		at := r.publishMany(name, 1, 1)
		r.publishMany(name, 2, 2)
		places = append(places, pusher.Place{Stream: at.Epoch, Serial: at.Offset})
	}
	return r, log, places
}

// TestTime04AReaderOfManyChannelsWaitsOnce: the log is read for all channels of a stream at the same time,
// and a reader waits only once for a log that does not answer.
func TestTime04AReaderOfManyChannelsWaitsOnce(t *testing.T) {
	const query = "channel=a&channel=b&channel=c"
	t.Run("he comes back", func(t *testing.T) {
		r, log, places := threeChannels(t)
		var mu sync.Mutex
		came, all := 0, make(chan struct{})
		log.by(func(ctx context.Context) error {
			mu.Lock()
			if came++; came == 3 {
				close(all)
			}
			mu.Unlock()
			select {
			case <-all:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		id := string(pusher.AppendPlaces(nil, places, pusher.ChannelsSum([]string{"a", "b", "c"})))
		rd := r.get(query, "Last-Event-ID: "+id)
		var got []string
		for len(got) < 7 {
			e := rd.next()
			if e.kind == "gap" {
				t.Fatalf("a gap: %+v", e)
			}
			got = append(got, e.kind)
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"resumed", "subscribed", "subscribed", "subscribed", "tick", "tick", "tick"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("he begins in the past", func(t *testing.T) {
		r, log, _ := threeChannels(t)
		var mu sync.Mutex
		var until []time.Time
		log.by(func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			at, _ := ctx.Deadline()
			until = append(until, at)
			return errors.New("out of order")
		})
		rd := r.get(query + "&since=2")
		for range 3 {
			rd.want("gap")
			rd.want("subscribed")
		}
		mu.Lock()
		defer mu.Unlock()
		if len(until) != 3 || until[0].IsZero() || len(slices.Compact(until)) != 1 {
			t.Errorf("the log was asked with %v left, want the same for all", until)
		}
	})
}
