package streams

import (
	"errors"
	"strings"
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
	// A second gateway with other settings wins, and the first one does not change them back.
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

// TestRetentionOfOneAppStopsNoOther: an app for whose retention there is no room does not stop other apps,
// and is named until there is room.
func TestRetentionOfOneAppStopsNoOther(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	apps := func(bytes int64) []AppOptions {
		return []AppOptions{
			{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 100, MaxBytes: bytes},
			{ID: "app.2 ü", Secrets: []Secret{"secret"}, MaxMessages: 5},
		}
	}
	err := l.Retain(t.Context(), apps(100<<30))
	var refused NotRetained
	if !errors.As(err, &refused) || len(refused) != 1 || refused["app-1"] == nil || !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("an app without room: %v", err)
	}
	stream, err := l.admin.Stream(t.Context(), StreamOf("app.2 ü"))
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().Config.MaxMsgsPerSubject; n != 5 {
		t.Errorf("the other app keeps %d messages, want 5", n)
	}
	if h := l.Health(); !h.Ready || !strings.Contains(strings.Join(h.Problems, "\n"), "retention of the app app-1: ") {
		t.Errorf("readiness says %+v", h)
	}
	if err := l.Retain(t.Context(), apps(0)); err != nil {
		t.Fatal(err)
	}
	if h := l.Health(); len(h.Problems) > 0 {
		t.Errorf("readiness says %q", h.Problems)
	}
}
