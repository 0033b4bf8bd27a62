package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/test/transcript"
)

// TestSessions shows what clients and a server say to each other. Lines of input are
//
//	NAME connects QUERY     opens a WebSocket connection
//	NAME > FRAME            sends a frame; $AUTH becomes the signature that it needs, $STREAM the
//	                        id of the stream
//	NAME hears N            waits for so many frames
//	NAME settles            waits until the server has read what was sent
//	NAME closes             ends the connection
//	NAME is closed          waits until the server has ended it
//	publish BODY            sends a signed request to publish
//	the gateway stops
//
// At the end of a step each connection is sent a ping, and the frames before the pong are shown. Socket ids,
// stream ids, sequence numbers, deltas, times and cursors are replaced, since they differ each time.
func TestSessions(t *testing.T) {
	transcript.Each(t, "testdata/sessions/*.txt", func(t *testing.T) func(*testing.T, []string) string {
		return newSession(t, nil).step
	})
}

// TestTime01Sessions shows how clients reconnect and what history they get.
func TestTime01Sessions(t *testing.T) {
	transcript.Each(t, "testdata/time/*.txt", func(t *testing.T) func(*testing.T, []string) string {
		return newSession(t, func(a *app.App) {
			a.HistoryEnabled, a.Rewind = true, true
			a.Recovery = app.Recovery{Enabled: true, MaxEvents: 100, MaxBytes: 1 << 20, Age: time.Minute}
			a.Snapshots = []app.SnapshotPattern{{Match: "ticker-*", Snapshot: app.Snapshot{On: true}}}
		}).step
	})
}

// session is a gateway with the clients of one transcript.
type session struct {
	t       *testing.T
	node    *running
	api     *client.Signed
	clients []*speaker
	out     strings.Builder
	// names replaces texts that differ each time.
	names []string
	// numbers holds the sequence numbers of delta frames, in the order of their appearance.
	numbers []string
}

func newSession(t *testing.T, change func(*app.App)) *session {
	s := &session{t: t}
	s.node = run(t, func(o *gateway.Options) {
		a := &app.App{
			ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits,
			ClientEvents: true, ClientEventRate: 10, UserAuth: true,
			Delta: app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100, DeliverTags: true},
		}
		if change != nil {
			change(a)
		}
		o.Apps = app.NewRegistry(a)
		o.Table = kv.NewMemoryTable(nil)
		o.Hub = hub.Options{DeltaEnabled: true, PerConnection: app.PerConnection{Filters: true}, Linger: 100 * time.Millisecond}
	})
	var err error
	s.api, err = client.NewSigned(client.SignedOptions{URL: "http://" + s.node.Addr(), AppID: "app", Key: "key", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	retained, err := s.node.log.Retained(t.Context(), "app", "any")
	if err != nil {
		t.Fatal(err)
	}
	s.names = append(s.names, retained.Epoch, "STREAM")
	return s
}

// speaker is one connection.
type speaker struct {
	gws.BuiltinEventHandler
	name, socketID, prefix string
	conn                   *gws.Conn
	frames                 chan string
	ended                  chan error
}

func (c *speaker) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.frames <- m.Data.String()
	_ = m.Close()
}

func (c *speaker) OnClose(_ *gws.Conn, err error) {
	c.ended <- err
	close(c.frames)
}

func (s *session) step(t *testing.T, input []string) string {
	s.t = t
	s.out.Reset()
	for _, line := range input {
		s.do(line)
	}
	for _, c := range s.clients {
		c.settle(s)
	}
	return s.out.String()
}

func (s *session) do(line string) {
	s.t.Helper()
	name, rest, _ := strings.Cut(line, " ")
	word, rest, _ := strings.Cut(rest, " ")
	switch {
	case line == "the gateway stops":
		s.node.stop()
	case name == "publish":
		body := json.RawMessage(strings.TrimPrefix(line, "publish "))
		var answer json.RawMessage
		if err := s.api.Do(s.t.Context(), http.MethodPost, []string{"events"}, nil, body, &answer); err != nil {
			s.say("server < %v", err)
			return
		}
		s.say("server < 200 %s", answer)
	case word == "connects":
		s.connect(name, rest)
	case word == ">":
		c := s.find(name)
		if err := c.conn.WriteString(s.signed(c, rest)); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	case word == "hears":
		var n int
		if _, err := fmt.Sscan(rest, &n); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		for range n {
			s.hear(s.find(name))
		}
	case word == "settles":
		s.find(name).settle(s)
	case word == "closes":
		c := s.find(name)
		c.conn.WriteClose(1000, nil)
		s.over(c)
	case line == name+" is closed":
		err := s.over(s.find(name))
		if closed := (*gws.CloseError)(nil); errors.As(err, &closed) {
			s.say("%s is closed: %d %s", name, closed.Code, closed.Reason)
		} else {
			s.say("%s is closed: %v", name, err)
		}
	default:
		s.t.Fatalf("nobody knows what this means: %s", line)
	}
}

func (s *session) connect(name, query string) {
	s.t.Helper()
	c := &speaker{name: name, prefix: "pusher", frames: make(chan string, 1000), ended: make(chan error, 1)}
	if strings.Contains(query, "protocol=2") {
		c.prefix = "sockudo"
	}
	conn, _, err := gws.NewClient(c, &gws.ClientOption{Addr: "ws://" + s.node.Addr() + "/app/key?" + query})
	if err != nil {
		s.t.Fatal(err)
	}
	c.conn = conn
	go conn.ReadLoop()
	s.clients = append(s.clients, c)
	s.t.Cleanup(func() { _ = conn.NetConn().Close() })
	first := s.wait(c)
	if m := regexp.MustCompile(`\d+\.\d+`).FindString(first); m != "" {
		c.socketID = m
		s.names = append(s.names, m, "SOCKET-OF-"+strings.ToUpper(name))
	}
	if m := ownID.FindStringSubmatch(first); m != nil && !slices.Contains(s.names, m[1]) {
		s.names = append(s.names, m[1], "GATEWAY")
	}
	s.say("%s < %s", name, first)
}

func (s *session) find(name string) *speaker {
	s.t.Helper()
	i := slices.IndexFunc(s.clients, func(c *speaker) bool { return c.name == name })
	if i < 0 {
		s.t.Fatalf("%s is not connected", name)
	}
	return s.clients[i]
}

// signed puts the signature into a frame that contains $AUTH.
func (s *session) signed(c *speaker, frame string) string {
	s.t.Helper()
	frame = strings.ReplaceAll(frame, "$STREAM", s.names[0])
	if !strings.Contains(frame, "$AUTH") {
		return frame
	}
	var m struct {
		Data struct {
			Channel     string
			ChannelData *string `json:"channel_data"`
			UserData    string  `json:"user_data"`
		}
	}
	if err := json.Unmarshal([]byte(frame), &m); err != nil {
		s.t.Fatalf("%s: %v", frame, err)
	}
	signature := ""
	switch d := m.Data; {
	case d.UserData != "":
		signature = pusher.SignUser("secret", c.socketID, d.UserData)
	case d.ChannelData != nil:
		signature = pusher.SignChannel("secret", c.socketID, d.Channel, *d.ChannelData, true)
	default:
		signature = pusher.SignChannel("secret", c.socketID, d.Channel, "", false)
	}
	return strings.ReplaceAll(frame, "$AUTH", "key:"+signature)
}

// wait returns the next frame.
func (s *session) wait(c *speaker) string {
	s.t.Helper()
	select {
	case f, ok := <-c.frames:
		if !ok {
			s.t.Fatalf("the connection of %s ended: %v", c.name, <-c.ended)
		}
		return f
	case <-time.After(patience):
		s.t.Fatalf("%s hears nothing; so far\n%s", c.name, &s.out)
	}
	panic("unreachable")
}

func (s *session) hear(c *speaker) { s.say("%s < %s", c.name, s.wait(c)) }

// settle shows the frames that come before the answer to a ping.
func (c *speaker) settle(s *session) {
	s.t.Helper()
	if err := c.conn.WriteString(`{"event":"` + c.prefix + `:ping","data":{}}`); err != nil {
		s.t.Fatalf("%s: %v; a connection that has ended must be seen to end in its step", c.name, err)
	}
	for {
		f := s.wait(c)
		if strings.Contains(f, `"`+c.prefix+`:pong"`) {
			return
		}
		s.say("%s < %s", c.name, f)
	}
}

// over waits for the end of a connection, and shows the frames before it.
func (s *session) over(c *speaker) error {
	s.t.Helper()
	s.clients = slices.DeleteFunc(s.clients, func(x *speaker) bool { return x == c })
	for deadline := time.After(patience); ; {
		select {
		case f, ok := <-c.frames:
			if !ok {
				return <-c.ended
			}
			s.say("%s < %s", c.name, f)
		case <-deadline:
			s.t.Fatalf("the connection of %s does not end", c.name)
		}
	}
}

var (
	ownID       = regexp.MustCompile(`"message_id":"(\w+)-1"`)
	frameNumber = regexp.MustCompile(`"(sequence|seq|base_index)":(\d+)`)
	storedAt    = regexp.MustCompile(`_at_ms":\d+`)
	cursorText  = regexp.MustCompile(`"next_cursor":"[^"]+"`)
	deltaText   = regexp.MustCompile(`"delta":"[^"]+"`)
)

// say adds a line, with replacements for texts that differ each time.
func (s *session) say(format string, args ...any) {
	line := strings.NewReplacer(s.names...).Replace(fmt.Sprintf(format, args...))
	line = deltaText.ReplaceAllString(line, `"delta":"DELTA"`)
	line = storedAt.ReplaceAllString(line, `_at_ms":WHEN`)
	line = cursorText.ReplaceAllString(line, `"next_cursor":"CURSOR"`)
	line = frameNumber.ReplaceAllStringFunc(line, func(m string) string {
		parts := frameNumber.FindStringSubmatch(m)
		i := slices.Index(s.numbers, parts[2])
		if i < 0 {
			s.numbers = append(s.numbers, parts[2])
			i = len(s.numbers) - 1
		}
		return fmt.Sprintf(`"%s":#%d`, parts[1], i+1)
	})
	s.out.WriteString(line + "\n")
}
