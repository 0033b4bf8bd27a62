package herald

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/kv"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

const patience = 3 * time.Minute

// desk collects webhooks. It wants all names except those in refuses.
type desk struct {
	refuses []string

	mu  sync.Mutex
	got []webhook.Event
}

func (d *desk) Wants(_ *app.App, name string) bool { return !slices.Contains(d.refuses, name) }

func (d *desk) Emit(_ *app.App, e webhook.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = append(d.got, e)
}

func (d *desk) names() (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.got {
		out = append(out, e.Name+" "+e.UserID)
	}
	return out
}

// listener collects announcements to connections.
type listener struct{ got chan string }

func (l listener) Announce(_ uint64, news []News) {
	for _, n := range news {
		l.got <- n.Event + " " + string(n.Data)
	}
}

func (l listener) Watched(b *Bulletin) {
	text, _ := json.Marshal([2][]string{b.Online, b.Offline})
	l.got <- string(text)
}

func (l listener) wants(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-l.got:
		if got != want {
			t.Fatalf("the listener was told %s, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("the listener was not told %s", want)
	}
}

// TestTellNamesAChangeAlikeForEverybody: a gateway that buried another one uses the ids that the other would
// have used, for every kind of change, and sends no webhook for internal changes.
func TestTellNamesAChangeAlikeForEverybody(t *testing.T) {
	d := &desk{refuses: []string{webhook.MemberRemoved}}
	h := New(Options{Apps: app.NewRegistry(&app.App{ID: "shop", SubscriptionCount: true}), Hooks: d, Node: "n1"})
	for _, c := range []struct {
		app, channel string
		change       presence.Change
		want         string // the id, empty if no webhook is sent
	}{
		{"shop", "presence-a", presence.Change{Kind: presence.Added, User: "ann", Node: "n1", Cause: 7}, "member_added/presence-a/n1/ann/7"},
		{"shop", "presence-a", presence.Change{Kind: presence.Removed, User: "ann", Node: "n1", Cause: 7}, ""},
		{"shop", "presence-a", presence.Change{Kind: presence.Occupied, Node: "n2", Cause: 8, Buried: true}, "channel_occupied/presence-a/n2//8"},
		{"shop", "presence-a", presence.Change{Kind: presence.Vacated, Node: "n2", Cause: 9}, "channel_vacated/presence-a/n2//9"},
		{"shop", "a", presence.Change{Kind: presence.Counted, Count: 3, Node: "n1", Cause: 1}, ""},
		{"shop", "a", presence.Change{Kind: presence.Counted, Count: 3, Node: "n2", Cause: 1, Buried: true}, "subscription_count/a/n2//1/0"},
		{"shop", "a", presence.Change{Kind: presence.Counted, Count: 3, Seat: 2, Node: "n2", Cause: 1, Buried: true}, "subscription_count/a/n2//1/2"},
		{"shop", "presence-a", presence.Change{Kind: presence.Counted, Count: 3, Node: "n2", Cause: 1, Buried: true}, ""},
		{"shop", pusher.UserChannel("ann"), presence.Change{Kind: presence.Occupied, Node: "n1", Cause: 2}, ""},
		{"shop", "", presence.Change{Kind: presence.Occupied, Node: "n1", Cause: 2}, ""},
		{"other", "a", presence.Change{Kind: presence.Occupied, Node: "n1", Cause: 2}, ""},
	} {
		d.got = nil
		h.Tell(c.app, c.channel, c.change)
		var got string
		if len(d.got) > 0 {
			got = d.got[0].ID
		}
		if got != c.want {
			t.Errorf("of %+v in %q of %s was told %q, want %q", c.change, c.channel, c.app, got, c.want)
		}
	}
	New(Options{Apps: h.opt.Apps}).Tell("shop", "a", presence.Change{Kind: presence.Occupied}) // nothing is configured to receive it
}

// TestRooms06TheRosterTellsTheHerald: the roster needs no hub. The changes of a gateway reach its webhooks,
// the subscribers of its channels, and the watchers of a user.
func TestRooms06TheRosterTellsTheHerald(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := &app.App{ID: "shop"}
	d := &desk{}
	h := New(Options{Apps: app.NewRegistry(a), Hooks: d, Node: "n1"})
	roster, err := presence.New(ctx, presence.Options{
		Table: kv.NewMemoryTable(nil), Node: "n1", Tell: h.Tell,
		Members: func(channel string) bool { return pusher.KindOf(channel).Presence() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer roster.Close(ctx)
	subscribers := listener{make(chan string, 16)}
	roll := h.Roll(roster, a, "presence-a", subscribers)
	if err := roll.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer roll.Close()
	if err := roll.Join(ctx, "ann", json.RawMessage(`{"n":1}`), 10); err != nil {
		t.Fatal(err)
	}
	subscribers.wants(t, `member_added {"user_id":"ann","user_info":{"n":1}}`)
	roll.Leave("ann")
	subscribers.wants(t, `member_removed {"user_id":"ann"}`)
	told := []string{"channel_occupied ", "member_added ann", "member_removed ann", "channel_vacated "}
	for !roll.Idle() || len(d.names()) < len(told) {
		if ctx.Err() != nil {
			t.Fatalf("the channel does not become idle, or the application was told only %q", d.names())
		}
		runtime.Gosched()
	}
	if diff := cmp.Diff(told, d.names()); diff != "" {
		t.Errorf("the application was told (-want +got):\n%s", diff)
	}

	lists := NewWatchlists(roster, func(app string, err error) { t.Errorf("following a user of %s: %v", app, err) })
	watcher := listener{make(chan string, 16)}
	u, err := lists.Open(ctx, "shop", "ben")
	if err != nil {
		t.Fatal(err)
	}
	lists.Begin([]*User{u}, watcher)
	watcher.wants(t, `[null,["ben"]]`)
	roster.SetCount("shop", pusher.UserChannel("ben"), 1)
	watcher.wants(t, `[["ben"],null]`)
	roster.SetCount("shop", pusher.UserChannel("ben"), 0)
	watcher.wants(t, `[null,["ben"]]`)
	lists.End(u, watcher)
	if len(lists.users) > 0 {
		t.Error("a user is followed for nobody")
	}
}
