package load

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/lxzan/gws"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// strict is a server of the protocol that shares no code with Sluice's server and trusts no client: it checks
// paths, versions and every signature, and writes frames with spaces and the members in another order, as
// other servers do.
type strict struct {
	gws.BuiltinEventHandler
	http  *httptest.Server
	delay func()

	mu    sync.Mutex
	next  int
	ids   map[*gws.Conn]string
	rooms map[string]map[*gws.Conn]bool
	wrong []string
	work  sync.WaitGroup
}

const (
	strictID     = "7"
	strictKey    = "strict-key"
	strictSecret = "strict-secret"
)

func startStrict(t *testing.T) *strict {
	s := &strict{ids: map[*gws.Conn]string{}, rooms: map[string]map[*gws.Conn]bool{}, delay: func() {}}
	upgrader := gws.NewUpgrader(s, &gws.ServerOption{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /base/app/{key}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("protocol") != "7" || r.URL.Query().Get("client") == "" || r.URL.Query().Get("version") == "" {
			s.complain("the query is %q", r.URL.RawQuery)
		}
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			s.complain("%v", err)
			return
		}
		if r.PathValue("key") != strictKey {
			s.write(c, `{ "data" : "{\"code\":4001,\"message\":\"no such app\"}", "event" : "pusher:error" }`)
			_ = c.WriteClose(4001, nil)
			_ = c.NetConn().Close()
			return
		}
		s.work.Go(c.ReadLoop)
	})
	mux.HandleFunc("POST /base/apps/{id}/events", s.publish)
	s.http = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.mu.Lock()
		for c := range s.ids {
			_ = c.NetConn().Close()
		}
		s.mu.Unlock()
		s.http.Close()
		s.work.Wait()
	})
	return s
}

func (s *strict) target() Target {
	return Target{URL: s.http.URL + "/base", AppID: strictID, Key: strictKey, Secret: app.Secret(strictSecret)}
}

func (s *strict) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

func (s *strict) complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

func (s *strict) write(c *gws.Conn, text string) { _ = c.WriteString(text) }

func (s *strict) publish(w http.ResponseWriter, r *http.Request) {
	s.delay()
	body, _ := io.ReadAll(r.Body)
	sum, q := md5.Sum(body), r.URL.Query()
	signature := q.Get("auth_signature")
	q.Del("auth_signature")
	if r.PathValue("id") != strictID || q.Get("auth_key") != strictKey || q.Get("auth_version") != "1.0" || q.Get("body_md5") != hex.EncodeToString(sum[:]) ||
		signature != pusher.SignRequest(strictSecret, r.Method, r.URL.Path[len("/base"):], q) {
		http.Error(w, "not signed", http.StatusUnauthorized)
		return
	}
	var e struct {
		Name, Data string
		Channels   []string
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Name == "" || len(e.Channels) == 0 {
		s.complain("%v in %s", err, body)
	}
	for _, channel := range e.Channels {
		text := fmt.Sprintf(`{ "data" : %q, "channel" : %q, "event" : %q }`, e.Data, channel, e.Name)
		s.mu.Lock()
		var to []*gws.Conn
		for c := range s.rooms[channel] {
			to = append(to, c)
		}
		s.mu.Unlock()
		for _, c := range to {
			s.write(c, text)
		}
	}
	_, _ = io.WriteString(w, "{}")
}

// OnOpen sends connection_established.
func (s *strict) OnOpen(c *gws.Conn) {
	s.mu.Lock()
	s.next++
	id := fmt.Sprintf("%d.%d", s.next, 7*s.next)
	s.ids[c] = id
	s.mu.Unlock()
	s.write(c, fmt.Sprintf(`{ "data" : "{\"activity_timeout\":30,\"socket_id\":\"%s\"}", "event" : "pusher:connection_established" }`, id))
	s.write(c, `{"event":"pusher:ping","data":"{}"}`)
}

// OnClose forgets a connection.
func (s *strict) OnClose(c *gws.Conn, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, c)
	for _, room := range s.rooms {
		delete(room, c)
	}
}

// OnMessage answers a request.
func (s *strict) OnMessage(c *gws.Conn, m *gws.Message) {
	v := gjson.Parse(string(m.Bytes()))
	_ = m.Close()
	channel := v.Get("data.channel").String()
	s.mu.Lock()
	id := s.ids[c]
	s.mu.Unlock()
	switch name := v.Get("event").String(); name {
	case "pusher:subscribe":
		about, auth := v.Get("data.channel_data").String(), v.Get("data.auth").String()
		kind := pusher.KindOf(channel)
		want := ""
		if kind.NeedsAuth() {
			want = strictKey + ":" + pusher.SignChannel(strictSecret, id, channel, about, kind.Presence())
		}
		if auth != want || kind.Presence() && gjson.Get(about, "user_id").String() == "" {
			s.complain("subscription to %s with %q and %q", channel, auth, about)
		}
		s.mu.Lock()
		if s.rooms[channel] == nil {
			s.rooms[channel] = map[*gws.Conn]bool{}
		}
		s.rooms[channel][c] = true
		s.mu.Unlock()
		s.write(c, fmt.Sprintf(`{ "data" : "{}", "channel" : %q, "event" : "pusher_internal:subscription_succeeded" }`, channel))
	case "pusher:unsubscribe":
		s.mu.Lock()
		if !s.rooms[channel][c] {
			s.wrong = append(s.wrong, "left "+channel+" without being there")
		}
		delete(s.rooms[channel], c)
		s.mu.Unlock()
	case "pusher:ping":
		s.write(c, `{"event":"pusher:pong","data":"{}"}`)
	case "pusher:pong":
	default:
		s.complain("frame %s", v.Raw)
	}
}
