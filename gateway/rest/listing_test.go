package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/rest"
)

// held delays answers: each question waits for a token, or until its context ends.
type held struct {
	may chan struct{}

	mu sync.Mutex
	// asked counts the questions, atOnce those in progress, and most is the largest atOnce. left counts those
	// whose context ended.
	asked, atOnce, most, left int
}

func newHeld() *held { return &held{may: make(chan struct{}, 1000)} }

func (h *held) wait(ctx context.Context) error {
	h.mu.Lock()
	h.asked++
	h.atOnce++
	h.most = max(h.most, h.atOnce)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.atOnce--
		if ctx.Err() != nil {
			h.left++
		}
	}()
	select {
	case <-h.may:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *held) now() (asked, most, left int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked, h.most, h.left
}

// heldLog is a log whose lists are held.
type heldLog struct {
	*memory.Log
	*held
}

func (l heldLog) Channels(ctx context.Context, app, prefix string) ([]string, error) {
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	return l.Log.Channels(ctx, app, prefix)
}

var _ broker.Listing = heldLog{}

// heldCrowd is a census whose lists are held.
type heldCrowd struct {
	*crowd
	*held
}

func (c heldCrowd) Channels(ctx context.Context, app, prefix string, room func(int) error) (map[string]rest.Count, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.crowd.Channels(ctx, app, prefix, room)
}

func (c heldCrowd) Users(ctx context.Context, app, channel string) ([]string, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.crowd.Users(ctx, app, channel)
}

var _ rest.Census = heldCrowd{}

// heldRig returns an API whose lists are all held.
func heldRig(t *testing.T, change func(*rest.Options)) (*rig, *held) {
	h := newHeld()
	r := newRig(t, func(o *rest.Options) {
		o.History = heldLog{o.Log.(*memory.Log), h}
		o.Census = heldCrowd{someone(), h}
		if change != nil {
			change(o)
		}
	})
	for _, c := range []string{"presence-hall", "presence-room", "orders"} {
		r.publish(fmt.Sprintf(`{"name":"n","channel":%q,"data":"d"}`, c))
	}
	return r, h
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}

// lists returns all requests for lists, with their kind of list and their answers.
func lists() map[string][2]string {
	return map[string][2]string{
		"/history":                            {"/history", `{"channels":["orders","presence-hall","presence-room"],"has_more":false}`},
		"/history?filter_by_prefix=presence-": {"/history", `{"channels":["presence-hall","presence-room"],"has_more":false}`},
		"/history?limit=1&after=orders":       {"/history", `{"channels":["presence-hall"],"has_more":true}`},
		"/channels?filter_by_prefix=o":        {"/channels", `{"channels":{"orders":{}}}`},
		"/channels?filter_by_prefix=presence-h&info=subscription_count,user_count": {"/channels",
			`{"channels":{"presence-hall":{"subscription_count":1,"user_count":1}}}`},
		"/channels/presence-room/users": {"/users", `{"users":[{"id":"u-10"},{"id":"u-9"}]}`},
	}
}

// TestTrust02ListsAreMadeOnceForAllWhoAsk: concurrent requests share a list. Before, a tenant that requested
// the same list many times at once had each made separately, which held up everybody.
func TestTrust02ListsAreMadeOnceForAllWhoAsk(t *testing.T) {
	const many = 20
	all := map[string]map[string]string{}
	for path, l := range lists() {
		if all[l[0]] == nil {
			all[l[0]] = map[string]string{}
		}
		all[l[0]][path] = l[1]
	}
	for list, paths := range all {
		t.Run(list, func(t *testing.T) {
			r, h := heldRig(t, nil)
			var asking sync.WaitGroup
			for range many {
				for path, want := range paths {
					asking.Go(func() { r.get(path).says(t, path, want) })
				}
			}
			// They share the first list or the second one, depending on when they came.
			eventually(t, "all of them wait", func() bool { return r.api.ListsWaiting() == many*len(paths) })
			if asked, _, _ := h.now(); asked != 1 {
				t.Fatalf("%d lists are made at once", asked)
			}
			h.may <- struct{}{}
			h.may <- struct{}{}
			asking.Wait()
			if asked, most, _ := h.now(); asked > 2 || most != 1 {
				t.Errorf("%d lists were made, up to %d at once", asked, most)
			}
		})
	}
}

// TestTrust02AListThatNobodyWaitsForEnds: a request waits for a list only for a while, and a list without a
// waiting request is cancelled.
func TestTrust02AListThatNobodyWaitsForEnds(t *testing.T) {
	for path := range lists() {
		t.Run(path, func(t *testing.T) {
			r, h := heldRig(t, func(o *rest.Options) { o.ListTimeout = 10 * time.Millisecond })
			r.get(path).refused(t, path, http.StatusServiceUnavailable, "service_unavailable", "")
			eventually(t, "it has ended", func() bool { _, _, left := h.now(); return left == 1 && r.api.ListsWaiting() == 0 })
		})
	}
}
