package lives

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/kv"
)

// One app cannot end purges and resets of the others, whatever channels it names. Nothing is removed
// of a channel for which there is no room.
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
	const most = MaxChannels * 3 / 4 // its part, and all that is for those who need more
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
	// What is known after a restart is counted as well.
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
