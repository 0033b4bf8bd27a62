package lives

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/kv"
)

// TestTrust05PurgesOfOneAppLeaveRoomForOthers: one app cannot prevent purges and resets of other apps,
// whatever channels it names. Without room for its record, nothing is removed from a channel.
func TestTrust05PurgesOfOneAppLeaveRoomForOthers(t *testing.T) {
	names := []string{"greedy", "quiet"}
	below, err := memory.New(memory.Options{Apps: names})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = below.Close() })
	table := kv.NewMemoryTable(nil)
	open := func() *Log {
		l, err := New(t.Context(), below, table, func() int { return len(names) }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	l := open()
	const most = MaxChannels * 3 / 4 // its own share, and all of the common room
	rec := &record{Number: 1, Epoch: "e"}
	for n := range most - 1 {
		p := place{"greedy", fmt.Sprint("c", n)}
		l.learn(p, rec)
		l.learn(p, &record{Number: 2, Epoch: "e"}) // A channel counts once.
	}
	if told := l.Problems(); len(told) > 0 {
		t.Errorf("there is room, and it says %q", told)
	}
	purge := func(app, channel string) error {
		_, err := l.Purge(t.Context(), app, channel, 0)
		return err
	}
	reset := func(app, channel string) error {
		_, err := l.Reset(t.Context(), app, channel)
		return err
	}
	if err := purge("greedy", "last"); err != nil {
		t.Fatal(err)
	}
	if _, err := below.Publish(t.Context(), "greedy", broker.Outgoing{Channel: "further", Event: &broker.Event{Name: "e", Data: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(app, channel string) error{"purge": purge, "reset": reset} {
		if err := do("greedy", "further"); !errors.Is(err, ErrTooMany) {
			t.Errorf("%s of a further channel: %v", name, err)
		}
		if err := do("greedy", "last"); err != nil {
			t.Errorf("%s of a channel that was purged before: %v", name, err)
		}
		if err := do("quiet", name); err != nil {
			t.Errorf("%s of another app: %v", name, err)
		}
	}
	if now, err := below.Retained(t.Context(), "greedy", "further"); err != nil || now.Messages != 1 {
		t.Errorf("of a channel whose purge was refused %d events are there, %v", now.Messages, err)
	}
	if told := l.Problems(); len(told) != 1 || !strings.Contains(told[0], "app greedy has purged or reset as many channels as it may, 49152") {
		t.Errorf("it says %q", told)
	}
	// Records read after a restart count as well.
	if n := open().byApp; n["greedy"] != 1 || n["quiet"] != 2 {
		t.Errorf("after a restart %v are counted", n)
	}
	names = append(names, "new")
	for n := range MaxChannels / 6 {
		if err := l.admits("new"); err != nil {
			t.Fatalf("an app that was added has room for %d", n)
		}
		l.learn(place{"new", fmt.Sprint(n)}, rec)
	}
	if err := l.admits("quiet"); err != nil {
		t.Error(err)
	}
}

// TestProblemsLookAtTheAppsOnce: before, it took time by the square of the number of apps, under the lock
// that every event of a purged channel needs. It names the apps that would be refused one more channel.
func TestProblemsLookAtTheAppsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked, among := 0, rapid.IntRange(0, 8).Draw(t, "among")
		l := &Log{byApp: map[string]int{}, apps: func() int { asked++; return among }}
		for n := range rapid.IntRange(0, 8).Draw(t, "apps") {
			l.byApp[fmt.Sprint("a", n)] = rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, MaxChannels)).Draw(t, "channels")
		}
		told := strings.Join(l.Problems(), "")
		if asked != 1 {
			t.Errorf("the apps were counted %d times for %d apps", asked, len(l.byApp))
		}
		full, first := 0, ""
		for n := range 8 {
			app := fmt.Sprint("a", n)
			if _, there := l.byApp[app]; there && l.admits(app) != nil {
				if full++; full == 1 {
					first = app
				}
			}
		}
		// The twin sums what other apps use beyond their shares.
		for app, n := range l.byApp {
			due := MaxChannels / (2 * max(among, 1))
			left := MaxChannels - due*max(among, 1)
			for other, n := range l.byApp {
				if other != app {
					left -= max(n-due, 0)
				}
			}
			if refused := n >= due+max(left, 0); refused != (l.admits(app) != nil) {
				t.Errorf("%v: %s is refused %t", l.byApp, app, !refused)
			}
		}
		if full > 0 != strings.Contains(told, "app "+first+" ") || full > 1 != strings.Contains(told, fmt.Sprintf("and %d more", full-1)) {
			t.Errorf("%d are full, and it says %q", full, told)
		}
	})
}
