package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestTrust07AFailingAppLeavesTheOthersAlone: the other apps start and work, the failing app is named and its
// requests get an error, and it works once the key is mended.
func TestTrust07AFailingAppLeavesTheOthersAlone(t *testing.T) {
	url := redisserver.Start(t).URL()
	first := open(t, url, false)
	key := first.keys.epoch("app-1")
	set := func() error {
		return first.pub.Do(t.Context(), first.pub.B().Lpush().Key(key).Element("not an epoch").Build()).Error()
	}
	if err := errors.Join(first.pub.Do(t.Context(), first.pub.B().Del().Key(key).Build()).Error(), set()); err != nil {
		t.Fatal(err)
	}
	l := open(t, url, false)
	event := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}
	mustPublish(t, l, "app.2", event) // the other app is not affected
	if h := l.Health(); !h.Ready || !strings.Contains(strings.Join(h.Problems, "\n"), "epoch of the app app-1") {
		t.Errorf("health is %+v", h)
	}
	if _, err := l.Publish(t.Context(), "app-1", event); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("publishing: got %v", err)
	}
	if _, err := l.Attach(t.Context(), "app-1", "c", &witness{}); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("attaching: got %v", err)
	}
	if err := first.pub.Do(t.Context(), first.pub.B().Del().Key(key).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	until(t, "the app works and nothing is wrong", func() bool {
		_, err := l.Publish(t.Context(), "app-1", event)
		return err == nil && len(l.Health().Problems) == 0
	})
}

func TestTrust04TheIdOfGatewaysIsReserved(t *testing.T) {
	_, err := Open(t.Context(), Options{URL: "redis://127.0.0.1:1", Apps: []AppOptions{{ID: broker.GatewaysApp}}})
	if err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("got %v", err)
	}
}

// TestTrust07APoisonedChannelIsNoTroubleOfTheServer: a foreign value under a channel's key is named, and
// affects its app only.
func TestTrust07APoisonedChannelIsNoTroubleOfTheServer(t *testing.T) {
	t.Parallel()
	l := open(t, redisserver.Start(t).URL(), false, func(o *Options) { o.PublishTimeout = time.Second })
	key := l.keys.channel("app-1", "c").stream
	if err := l.pub.Do(t.Context(), l.pub.B().Set().Key(key).Value("not a stream").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	event := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}
	// On a busy machine there may be no second attempt within the time-out, which would name it.
	until(t, "it is named", func() bool {
		if _, err := l.Publish(t.Context(), "app-1", event); !errors.Is(err, broker.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		return strings.Contains(problems(l), "storing events of the app app-1")
	})
	if h := l.Health(); !h.Ready {
		t.Errorf("health is %+v", h)
	}
	mustPublish(t, l, "app.2", event) // the other app is not affected
	if err := l.pub.Do(t.Context(), l.pub.B().Del().Key(key).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, l, "app-1", event)
	if h := l.Health(); len(h.Problems) > 0 {
		t.Errorf("afterwards: %+v", h)
	}
}

// TestATryThatWasCutShortSaysNothing: the last attempt of a publish ends with its caller's context. Before,
// that was taken for a fault of the server, although the earlier attempts named another reason.
func TestATryThatWasCutShortSaysNothing(t *testing.T) {
	t.Parallel()
	l := open(t, redisserver.Start(t).URL(), false)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	tries := 0
	err := l.repeat(ctx, l.apps.Of("app-1"), "key", func(context.Context) error {
		if tries++; tries == 1 {
			return errors.New("WRONGTYPE of a key")
		}
		cancel(context.DeadlineExceeded)
		return context.DeadlineExceeded
	})
	h := l.Health()
	if !errors.Is(err, broker.ErrUnavailable) || tries != 2 || !h.Ready || !strings.Contains(strings.Join(h.Problems, "\n"), "WRONGTYPE") {
		t.Errorf("got %v after %d tries, health is %+v", err, tries, h)
	}
}
