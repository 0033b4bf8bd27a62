package rest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"unsafe"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/rest"
)

// watched records the address of the data of each event.
type watched struct {
	broker.Log
	at *[]uintptr
}

func (w watched) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	for _, out := range events {
		*w.at = append(*w.at, uintptr(unsafe.Pointer(unsafe.SliceData(out.Event.Data))))
	}
	return w.Log.Publish(ctx, app, events...)
}

// TestWayIn03SmallEventsLeaveABatch: a small event that is passed to the log does not keep the memory of its
// large neighbours in the batch, whatever members it has.
func TestWayIn03SmallEventsLeaveABatch(t *testing.T) {
	data := strings.Repeat("x", 9_000)
	for about, more := range map[string]string{"alone": "", "with an id": `,"message_id":"mine"`, "with a key": `,"idempotency_key":"mine"`, "with tags": `,"tags":{"a":"b"}`} {
		var at []uintptr
		r := newRig(t, func(o *rest.Options) { o.Log = watched{o.Log.(broker.Log), &at} })
		body := `{"batch":[{"name":"n","channel":"c","data":"small"` + more + `},{"name":"n","channel":"c","data":"` + data + `"}]}`
		if a := r.call(http.MethodPost, "app", "/batch_events", []byte(body)); a.Status != http.StatusOK || len(at) != 2 {
			t.Fatalf("%s: %d %s, %d events", about, a.Status, a.Body, len(at))
		}
		// The data of the large event is a slice of the body.
		begin := at[1] - uintptr(strings.Index(body, data))
		if at[0] >= begin && at[0] < begin+uintptr(len(body)) {
			t.Errorf("%s: the small event holds the body", about)
		}
	}
}
