package hub

import (
	"context"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
)

// TestWatchersShareAFrame: watchers of a user are told of changes in their dialect, and all watchers with one
// dialect get the same frame.
func TestWatchersShareAFrame(t *testing.T) {
	roster, err := presence.New(t.Context(), presence.Options{Table: kv.NewMemoryTable(nil), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { roster.Close(context.Background()) })
	r := newRig(t, func(o *Options, a *appT) { o.Roster, o.Node, a.UserAuth, a.Watchlist = roster, "n1", true, true })
	watch := func(connect func() (*peer, string), prefix string) *peer {
		p, id := connect()
		user := `{"id":"w","watchlist":["ada"]}`
		p.say(`{"event":"%s:signin","data":{"auth":"key:%s","user_data":%q}}`, prefix, pusher.SignUser("secret", id, user), user)
		p.want(prefix + ":signin_success")
		if m := p.want(prefix + "_internal:watchlist_events"); !strings.Contains(m.str(), "offline") {
			t.Errorf("at first it is told %s", m.text)
		}
		return p
	}
	var texts []string
	watchers := map[*peer]string{
		watch(r.connect, "pusher"): "pusher", watch(r.connect, "pusher"): "pusher", watch(r.second, "sockudo"): "sockudo", watch(r.second, "sockudo"): "sockudo",
	}
	r.signedIn("ada")
	for p, prefix := range watchers {
		m := p.want(prefix + "_internal:watchlist_events")
		if !strings.Contains(m.str(), `"online"`) {
			t.Errorf("it is told %s", m.text)
		}
		texts = append(texts, m.text)
	}
	different := map[string]int{}
	for _, text := range texts {
		different[text]++
	}
	for text, times := range different {
		if times != 2 {
			t.Errorf("%d watchers of a dialect are told %s", times, text)
		}
	}
}
