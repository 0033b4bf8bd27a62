package shelf

import (
	"context"
	"math"
	"testing"
	"testing/synctest"

	"github.com/sluicehq/sluice/kv"
)

// TestRun03ATableThatWasLostRemovesNoApp: an app ends when it is removed, and not when its record is lost.
func TestRun03ATableThatWasLostRemovesNoApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := kv.NewMemoryTable(nil)
		s := New(table, keysOf(t, "a"))
		for _, id := range []string{"kept", "removed"} {
			if err := s.Add(t.Context(), id, []byte("text")); err != nil {
				t.Fatal(err)
			}
		}
		f, stop, err := Follow(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		known := func(ctx context.Context) map[string]*App {
			if _, err := f.read(ctx); err != nil {
				t.Fatal(err)
			}
			apps, _ := f.Apps()
			return apps
		}
		a, err := s.Get(t.Context(), "removed")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if apps := known(t.Context()); len(apps) != 1 || apps["kept"] == nil {
			t.Errorf("after one was removed there are %v", apps)
		}
		if err := table.Purge(t.Context(), ">", math.MaxUint64); err != nil {
			t.Fatal(err)
		}
		if apps := known(t.Context()); len(apps) != 1 || apps["kept"] == nil {
			t.Errorf("without the table there are %v", apps)
		}
		// Others find it as well, such as the next start.
		if apps, err := s.List(t.Context()); err != nil || len(apps) != 1 || string(apps["kept"].Text) != "text" {
			t.Errorf("TestTrust07: the table has %v, %v", apps, err)
		}
	})
}
