package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway/app"
)

// peer is a bare V1 client that keeps every frame.
type peer struct {
	gws.BuiltinEventHandler
	t    *testing.T
	app  *app.App
	conn *gws.Conn
	done chan struct{}

	mu   sync.Mutex
	got  []message
	code uint16
	id   string
}

// message is a frame of the server.
type message struct {
	Event, Channel string
	Data           json.RawMessage
	UserID         string `json:"user_id"`
	text           string
}

// str returns the data of a frame, decoded if it is a string.
func (m message) str() string {
	var s string
	if json.Unmarshal(m.Data, &s) != nil {
		return string(m.Data)
	}
	return s
}

func (n *node) dial(t *testing.T, a *app.App) *peer {
	t.Helper()
	return dialRaw(t, n.Addr(), a)
}

func dialRaw(t *testing.T, address string, a *app.App) *peer {
	t.Helper()
	return dialProtocol(t, address, a, 7)
}

// dialV2 connects a bare V2 client.
func dialV2(t *testing.T, address string, a *app.App) *peer {
	t.Helper()
	return dialProtocol(t, address, a, 2)
}

func dialProtocol(t *testing.T, address string, a *app.App, protocol int) *peer {
	t.Helper()
	p := &peer{t: t, app: a, done: make(chan struct{})}
	conn, _, err := gws.NewClient(p, &gws.ClientOption{
		Addr: "ws://" + address + "/app/" + a.Key + fmt.Sprint("?protocol=", protocol), HandshakeTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	go func() {
		defer close(p.done)
		conn.ReadLoop()
	}()
	t.Cleanup(p.close)
	return p
}

// connect dials and waits until the connection is established.
func (n *node) connect(t *testing.T, a *app.App) *peer {
	t.Helper()
	return dialPeer(t, n.Addr(), a)
}

func dialPeer(t *testing.T, address string, a *app.App) *peer {
	t.Helper()
	p := dialRaw(t, address, a)
	var d struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(p.await("pusher:connection_established", "").str()), &d); err != nil || d.SocketID == "" {
		t.Fatalf("no socket id: %v", err)
	}
	p.id = d.SocketID
	return p
}

func (p *peer) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	got := message{text: string(m.Bytes())}
	if err := json.Unmarshal(m.Bytes(), &got); err != nil {
		p.t.Errorf("frame %s: %v", got.text, err)
	}
	if got.Event == "pusher:ping" { // a client that does not answer is closed, and tests may take longer than that
		p.say(`{"event":"pusher:pong","data":{}}`)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, got)
}

func (p *peer) OnClose(_ *gws.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := err.(*gws.CloseError); ok {
		p.code = e.Code
	}
}

func (p *peer) close() {
	_ = p.conn.WriteClose(1000, nil)
	<-p.done
	_ = p.conn.NetConn().Close()
}

// closed waits for the end of the connection and returns the close code.
func (p *peer) closed() int {
	p.t.Helper()
	eventually(p.t, "the connection is closed", func() bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.code)
}

// frames returns the number of frames so far.
func (p *peer) frames() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// all returns the frames so far of an event and a channel; empty means any.
func (p *peer) all(event, channel string) []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []message
	for _, m := range p.got {
		if (event == "" || m.Event == event) && (channel == "" || m.Channel == channel) {
			out = append(out, m)
		}
	}
	return out
}

// await waits for the first such frame.
func (p *peer) await(event, channel string) message {
	p.t.Helper()
	return p.awaitN(event, channel, 1)[0]
}

func (p *peer) awaitN(event, channel string, n int) []message {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%d frames %s of %s came", n, event, channel), func() bool { return len(p.all(event, channel)) >= n })
	return p.all(event, channel)
}

func (p *peer) say(format string, args ...any) {
	_ = p.conn.WriteString(fmt.Sprintf(format, args...))
}

// usable waits for the answer to a ping. By then the answers to everything said before have come.
func (p *peer) usable() {
	p.t.Helper()
	n := len(p.all("pusher:pong", ""))
	p.say(`{"event":"pusher:ping","data":{}}`)
	p.awaitN("pusher:pong", "", n+1)
}

func (p *peer) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(p.app.Secret.Reveal()))
	mac.Write([]byte(text))
	return p.app.Key + ":" + hex.EncodeToString(mac.Sum(nil))
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// ask sends a signed subscription and does not wait for the answer.
func (p *peer) ask(channel, channelData string) {
	text, data := p.id+":"+channel, ""
	if channelData != "" {
		text, data = text+":"+channelData, `,"channel_data":`+quote(channelData)
	}
	p.say(`{"event":"pusher:subscribe","data":{"auth":%q,"channel":%q%s}}`, p.sign(text), channel, data)
}

// subscribe subscribes and waits for the success. It repeats the request if the log is unavailable.
func (p *peer) subscribe(channel, channelData string) message {
	p.t.Helper()
	n, no := len(p.either(succeeded, channel)), len(p.either(refused, channel))
	p.ask(channel, channelData)
	return p.subscribed(channel, n, no, func() { p.ask(channel, channelData) })
}

// succeeded and refused are the answers to a subscription, behind the prefix of the dialect.
const succeeded, refused = "_internal:subscription_succeeded", ":subscription_error"

// passing matches the status of a refusal that may be over in a moment, as V1 and V2 write it.
var passing = regexp.MustCompile(`status\\?":503\b`)

// either are the frames of an event in either dialect.
func (p *peer) either(event, channel string) []message {
	return append(p.all("pusher"+event, channel), p.all("sockudo"+event, channel)...)
}

// subscribed waits for a success of what was asked for, behind n successes and no refusals. A gateway of a busy machine
// may not reach the log in time: then it is asked again, as clients do.
func (p *peer) subscribed(channel string, n, no int, ask func()) message {
	p.t.Helper()
	eventually(p.t, "the subscription to "+channel+" succeeds", func() bool {
		if errs := p.either(refused, channel); len(errs) > no {
			if text := errs[no].text; !passing.MatchString(text) {
				p.t.Fatalf("%s is refused: %s", channel, text)
			}
			no++
			ask()
		}
		return len(p.either(succeeded, channel)) > n
	})
	return p.either(succeeded, channel)[n]
}

func (p *peer) unsubscribe(channel string) {
	p.say(`{"event":"pusher:unsubscribe","data":{"channel":%q}}`, channel)
}

func (p *peer) signIn(userData string) message {
	p.t.Helper()
	p.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%s}}`, p.sign(p.id+"::user::"+userData), quote(userData))
	return p.await("pusher:signin_success", "")
}

func user(id string) string {
	return fmt.Sprintf(`{"user_id":%q,"user_info":{"name":%q}}`, id, "N "+id)
}

// hash is the data of a success frame of a presence channel.
type hash struct {
	Presence struct {
		IDs   []string
		Hash  map[string]json.RawMessage
		Count int
	}
}

func hashOf(t *testing.T, m message) hash {
	t.Helper()
	var h hash
	if err := json.Unmarshal([]byte(m.str()), &h); err != nil {
		t.Fatalf("%s: %v", m.text, err)
	}
	if h.Presence.Count != len(h.Presence.IDs) || len(h.Presence.Hash) != len(h.Presence.IDs) {
		t.Errorf("%s does not agree with itself", m.text)
	}
	return h
}

// view returns the members of a channel as a client computes them, from the last hash and the frames after
// it. It reports an error for a member that is added or removed twice.
func (p *peer) view(channel string) []string {
	var in []string
	for _, m := range p.all("", channel) {
		var who struct {
			ID string `json:"user_id"`
		}
		_ = json.Unmarshal([]byte(m.str()), &who)
		at := slices.Index(in, who.ID)
		switch m.Event {
		case "pusher_internal:subscription_succeeded":
			in = slices.Clone(hashOf(p.t, m).Presence.IDs)
		case "pusher_internal:member_added":
			if at >= 0 {
				return []string{who.ID + " came twice"}
			}
			in = append(in, who.ID)
		case "pusher_internal:member_removed":
			if at < 0 {
				return []string{who.ID + " went twice"}
			}
			in = slices.Delete(in, at, at+1)
		}
	}
	slices.Sort(in)
	return in
}

func converge(t *testing.T, channel string, want []string, peers ...*peer) {
	t.Helper()
	slices.Sort(want)
	for i, p := range peers {
		looked := -1
		eventually(t, fmt.Sprintf("peer %d sees %v in %s", i, want, channel), func() bool {
			n := p.frames()
			if n == looked {
				return false
			}
			looked = n
			return slices.Equal(p.view(channel), want)
		})
	}
}
