package webhook

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// aged is a queue whose tasks were stored long ago, some time apart, as a gateway that takes it over finds
// them.
type aged struct {
	*memory.Work
	at    time.Time
	apart time.Duration
}

func (w *aged) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	n := 0
	return w.Work.Take(ctx, queue, pending, func(t broker.Taken) {
		t.Stored = w.at.Add(time.Duration(n) * w.apart)
		n++
		do(t)
	})
}

// TestWH10ABacklogKeepsItsOrder: a gateway that takes over receives vacated and occupied, stored ten seconds
// apart, at the same moment. In the wrong order, the channel would stay empty for the application.
func TestWH10ABacklogKeepsItsOrder(t *testing.T) {
	r := listen(t, nil)
	a := tenant(app.Webhook{URL: r.URL})
	work := &aged{Work: memory.NewWork(), at: time.Now().Add(-time.Minute), apart: 10 * time.Second}
	h := run(t, a, work, nil)
	want := []string{"channel_occupied c", "channel_vacated c", "channel_occupied c"}
	for _, name := range []string{ChannelOccupied, ChannelVacated, ChannelOccupied} {
		h.Emit(a, Event{Name: name, Channel: "c"})
	}
	eventually(t, "all have come", func() bool { return len(r.names()) == 3 })
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAStopLetsTheRequestUnderWayFinish: the next gateway would repeat an aborted request, although the
// application has received it.
func TestAStopLetsTheRequestUnderWayFinish(t *testing.T) {
	got, release := make(chan struct{}, 8), make(chan struct{})
	r := listen(t, func(int, string) int { got <- struct{}{}; <-release; return http.StatusOK })
	a := tenant(app.Webhook{URL: r.URL})
	work := memory.NewWork()
	h := run(t, a, work, nil)
	h.Emit(a, Event{Name: CacheMiss, Channel: "c"})
	<-got
	closed := make(chan struct{})
	go func() { h.Close(context.Background()); close(closed) }()
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	<-closed
	if n := total(h.metrics.sent); n != 1 {
		t.Fatalf("%v were sent, want 1", n)
	}
	left := make(chan broker.Taken, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = work.Take(ctx, newEndpoint(h, a, &a.Webhooks[0]).queue, 1, func(t broker.Taken) { left <- t })
	if len(left) > 0 {
		t.Error("it would be delivered again")
	}
}
