package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
)

// TestWeeks06WhoSignsInIsReached signs in users with many kinds of ids at one gateway and reaches them by
// every door of the other one. An id that cannot sign in is refused there and by each door.
func TestWeeks06WhoSignsInIsReached(t *testing.T) {
	a := everything("app")
	c := start(t, 2, settings{apps: []*app.App{a}})
	for _, id := range []string{
		"7", "auth0|5f7c8ec7c33c6c004bbafe82", "a+b@c.example", "Ada Lovelace", " ", "née", "漢字", "🙂", "a/b", "/", "a%2Fb", "50%", "a?b#c",
		"a:b;c,d", `"quoted" \ back`, "<x>&amp;", "https://idp.example/users/7", "*", ">", "a.b", "$SYS", "#server-to-user-7", "-", "...",
		strings.Repeat("x", 128), strings.Repeat("🙂", 128),
	} {
		t.Run(id[:min(len(id), 20)], func(t *testing.T) { reachUser(t, c, a, id) })
	}
	for _, id := range []string{"", "a\x00b", "a\nb", "\u0085", "\ufffd", ".", "..", strings.Repeat("x", 129), strings.Repeat("é", 129)} {
		t.Run("not "+fmt.Sprintf("%.20q", id), func(t *testing.T) { refuseUser(t, c, a, id) })
	}
}

func reachUser(t *testing.T, c *cluster, a *app.App, id string) {
	friend := c.nodes[1].connect(t, a)
	friend.signIn(`{"id":"friend of ` + fmt.Sprintf("%x", id[:min(len(id), 20)]) + `","watchlist":[` + quote(id) + `]}`)
	friend.await("pusher_internal:watchlist_events", "")
	p := c.nodes[0].connect(t, a)
	p.signIn(`{"id":` + quote(id) + `}`)
	p.await("pusher:signin_success", "")
	if n := len(p.all("pusher:error", "")); n > 0 {
		t.Fatalf("got %s", p.all("pusher:error", "")[0].text)
	}
	online := friend.awaitN("pusher_internal:watchlist_events", "", 2)[1]
	var news struct {
		Events []struct {
			Name    string
			UserIDs []string `json:"user_ids"`
		}
	}
	if err := json.Unmarshal([]byte(online.str()), &news); err != nil || len(news.Events) != 1 || news.Events[0].Name != "online" || news.Events[0].UserIDs[0] != id {
		t.Errorf("the friend got %s", online.str())
	}
	channel := "#server-to-user-" + id
	ask := func() { p.say(`{"event":"pusher:subscribe","data":{"channel":%s,"auth":""}}`, quote(channel)) }
	ask()
	p.subscribed(channel, 0, 0, ask)
	body := `{"name":"note","channels":[` + quote(channel) + `],"data":"hello"}`
	if status := c.nodes[1].request(t, a, http.MethodPost, "/events", body, nil); status != http.StatusOK {
		t.Fatalf("publishing was answered %d", status)
	}
	if m := p.await("note", channel); m.str() != "hello" {
		t.Errorf("got %s", m.text)
	}
	path := "/users/" + strings.ReplaceAll(url.PathEscape(id), "+", "%2B") + "/terminate_connections"
	if status := c.nodes[1].request(t, a, http.MethodPost, path, "{}", nil); status != http.StatusOK {
		t.Fatalf("terminating was answered %d", status)
	}
	if code := p.closed(); code != 4009 {
		t.Errorf("closed with %d", code)
	}
}

func refuseUser(t *testing.T, c *cluster, a *app.App, id string) {
	p := c.nodes[0].connect(t, a)
	data := `{"id":` + quote(id) + `}`
	p.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%s}}`, p.sign(p.id+"::user::"+data), quote(data))
	if m := p.await("pusher:error", ""); !strings.Contains(m.text, "id") {
		t.Errorf("signing in gave %s", m.text)
	}
	if len(p.all("pusher:signin_success", "")) > 0 {
		t.Error("the user is signed in")
	}
	channel := "#server-to-user-" + id
	body := `{"name":"note","channels":[` + quote(channel) + `],"data":"hello"}`
	if status := c.nodes[0].request(t, a, http.MethodPost, "/events", body, nil); status != http.StatusBadRequest {
		t.Errorf("publishing was answered %d", status)
	}
	// HTTP clients treat dots as relative paths.
	escaped := strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
	if status := c.nodes[0].request(t, a, http.MethodPost, "/users/"+escaped+"/terminate_connections", "{}", nil); status != http.StatusBadRequest {
		t.Errorf("terminating was answered %d", status)
	}
	p.signIn(`{"id":"watches","watchlist":[` + quote(id) + `,"somebody"]}`)
	if m := p.awaitN("pusher:error", "", 2)[1]; !strings.Contains(m.text, "watchlist") {
		t.Errorf("watching gave %s", m.text)
	}
	if m := p.await("pusher_internal:watchlist_events", ""); !strings.Contains(m.str(), `"somebody"`) {
		t.Errorf("the others are not watched: %s", m.text)
	}
}
