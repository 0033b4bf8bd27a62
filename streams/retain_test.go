package streams

import (
	"errors"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

func TestRetentionChangesWhileTheLogIsOpenAndStays(t *testing.T) {
	s := node(t, t.TempDir())
	first := open(t, options(s))
	kept := func() int64 {
		stream, err := first.admin.Stream(t.Context(), StreamOf("app-1"))
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config.MaxMsgsPerSubject
	}
	if got := kept(); got != 100 {
		t.Fatalf("%d messages are kept, want 100", got)
	}
	// A second gateway with other settings wins, and the first one does not fight.
	opt := options(s)
	opt.Apps[0].MaxMessages = 70
	second := open(t, opt)
	first.checkStream(first.apps.Of("app-1"))
	if got := kept(); got != 70 {
		t.Errorf("%d messages are kept, want the 70 of the gateway that started last", got)
	}
	if err := second.Retain(t.Context(), []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 5}}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := first.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := second.Retained(t.Context(), "app-1", "c")
	if err != nil || r.Messages != 5 {
		t.Errorf("%d messages are retained, %v; want 5", r.Messages, err)
	}
	if err := second.Retain(t.Context(), []AppOptions{{ID: "nobody", Secrets: []Secret{"secret"}}}); !errors.Is(err, broker.ErrUnknownApp) {
		t.Errorf("an app that does not exist: got %v", err)
	}
	if err := second.Retain(t.Context(), []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: -7}}); err == nil {
		t.Error("a negative limit was taken")
	}
}
