package shelf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker/secret"
	"github.com/sluicehq/sluice/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keysOf(t testing.TB, names ...string) *Keys {
	t.Helper()
	var all []secret.Secret
	for _, n := range names {
		all = append(all, secret.Secret(strings.Repeat(n, LeastKey)))
	}
	k, err := NewKeys(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRun03KeysOpenWhatTheySealed(t *testing.T) {
	a, b, both := keysOf(t, "a"), keysOf(t, "b"), keysOf(t, "b", "a")
	sealed, err := a.seal("app", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "text") {
		t.Error("the text is not sealed")
	}
	for name, c := range map[string]struct {
		keys *Keys
		id   string
		text string
		old  bool
		err  error
	}{
		"the same key":     {a, "app", "text", false, nil},
		"an earlier key":   {both, "app", "text", true, nil},
		"another key":      {b, "app", "", false, errSealed},
		"that of some app": {a, "other", "", false, errSealed},
	} {
		text, old, err := c.keys.open(c.id, sealed)
		if string(text) != c.text || old != c.old || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v, %v", name, text, old, err)
		}
	}
	if text, _, err := a.open("app", removed()); text != nil || err != nil {
		t.Errorf("one that was removed: %q, %v", text, err)
	}
	if _, err := NewKeys("short"); err == nil {
		t.Error("a short key is taken")
	}
}

// TestRun03HostileRecords: invalid records are problems of their apps alone.
func TestRun03HostileRecords(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	s := New(table, keysOf(t, "a"))
	if err := s.Add(t.Context(), "good", []byte("text")); err != nil {
		t.Fatal(err)
	}
	stolen, err := table.Read(t.Context(), keyOf("good"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := keysOf(t, "b").seal("other", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	for id, value := range map[string]string{
		"empty": "", "text": "hello", "null": "null", "list": "[]", "later": `{"format":2}`, "nothing": `{"format":1}`,
		"short": `{"format":1,"sealed":"AAAA"}`, "stolen": string(stolen.Value), "other": string(other), "deep": strings.Repeat("[", 10000),
	} {
		if _, err := table.Put(t.Context(), keyOf(id), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"app.=ZZ", "app.a.b", "apps.x"} {
		_, _ = table.Put(t.Context(), key, []byte("x"), 0)
	}
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 11 {
		t.Errorf("%d apps are listed, want 11", len(all))
	}
	for id, a := range all {
		if (id == "good") != (a.Err == nil) {
			t.Errorf("%s: %v", id, a.Err)
		}
		if id != "good" && a.Text != nil {
			t.Errorf("%s has the text %q", id, a.Text)
		}
	}
	// A record that cannot be read can still be removed.
	if err := s.Remove(t.Context(), all["text"]); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), "text"); !errors.Is(err, ErrNotThere) {
		t.Errorf("after it was removed: %v", err)
	}
}

// deaf is a table whose watchers miss changes while quiet is set.
type deaf struct {
	kv.Table
	mu    sync.Mutex
	quiet bool
}

type deafWatcher struct {
	kv.Watcher
	d *deaf
}

func (w deafWatcher) Changed(r kv.Record) {
	w.d.mu.Lock()
	quiet := w.d.quiet
	w.d.mu.Unlock()
	if !quiet {
		w.Watcher.Changed(r)
	}
}

func (d *deaf) Watch(pattern string, w kv.Watcher) (func(), error) {
	return d.Table.Watch(pattern, deafWatcher{w, d})
}

// TestRun03FollowersKnowWhatThereIs changes apps randomly from two places, and compares what a follower knows
// with a plain list. The follower misses some writes.
func TestRun03FollowersKnowWhatThereIs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			table := &deaf{Table: kv.NewMemoryTable(nil)}
			places := []*Shelf{New(table, keysOf(t, "a")), New(table, keysOf(t, "b", "a"))}
			ctx, cancel := context.WithCancel(t.Context())
			f, stop, err := Follow(ctx, New(table, keysOf(t, "b", "a")))
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				f.Run(ctx, func() {})
			}()
			twin := map[string]string{}
			for step := range rapid.IntRange(1, 10).Draw(rt, "steps") {
				place := places[rapid.IntRange(0, 1).Draw(rt, "place")]
				id := rapid.SampledFrom([]string{"x", "y", "a.b/c"}).Draw(rt, "id")
				quiet := rapid.Bool().Draw(rt, "quiet")
				table.mu.Lock()
				table.quiet = quiet
				table.mu.Unlock()
				text := fmt.Sprint("text ", step)
				a, err := place.Get(ctx, id)
				_, there := twin[id]
				if there != (err == nil) {
					rt.Fatalf("%s: %v", id, err)
				}
				readable := err == nil && a.Err == nil
				switch rapid.SampledFrom([]string{"add", "set", "remove", "race"}).Draw(rt, "what") {
				case "add":
					err := place.Add(ctx, id, []byte(text))
					if there != errors.Is(err, ErrThere) {
						rt.Fatalf("adding %s, which is there %v: %v", id, there, err)
					}
					if !there {
						twin[id] = text
					}
				case "set":
					if readable && place.Set(ctx, a, []byte(text)) == nil {
						twin[id] = text
					}
				case "remove":
					if err == nil && place.Remove(ctx, a) == nil {
						delete(twin, id)
					}
				case "race":
					if readable {
						if err := place.Set(ctx, a, []byte(text)); err != nil {
							rt.Fatal(err)
						}
						twin[id] = text
						if err := place.Set(ctx, a, []byte("late")); !errors.Is(err, ErrRaced) {
							rt.Fatalf("a second write to what was read before: %v", err)
						}
					}
				}
				wait := time.Second
				if quiet {
					wait = 2 * Again
				}
				<-time.After(wait)
				synctest.Wait()
				known, err := f.Apps()
				if err != nil || len(known) != len(twin) {
					rt.Fatalf("%d apps are known, want %d: %v", len(known), len(twin), err)
				}
				for id, text := range twin {
					if known[id] == nil || string(known[id].Text) != text {
						rt.Fatalf("%s is %+v, want %q", id, known[id], text)
					}
				}
			}
			cancel()
			stop()
			<-ended
		})
	})
}
