package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/test/fault"
)

// visit is a client whose actions are chosen by bytes, with a record of the channels it may hear of.
type visit struct {
	*rig
	t     *testing.T
	peer  *peer
	id    string
	bytes []byte
	// may holds the channels to which it is subscribed, or has a request pending.
	may map[string]bool
	at  map[string]broker.Position
	// heard counts the events it received.
	heard int
	// gone is set once the server has closed the connection.
	gone bool
}

// sessionChannels are the channels of a session. The last three need a signature.
var sessionChannels = []string{"orders", "market", "cache-rates", "private-room", "private-encrypted-room", "presence-room"}

func (s *visit) byte() int {
	if len(s.bytes) == 0 {
		return 0
	}
	b := s.bytes[0]
	s.bytes = s.bytes[1:]
	return int(b)
}

func (s *visit) one(of ...string) string { return of[s.byte()%len(of)] }

func (s *visit) channel() string { return s.one(sessionChannels...) }

func (s *visit) say(text string) {
	if _, err := s.peer.conn.Write(masked(websocket.Text, []byte(text))); err != nil {
		s.gone = true
	}
}

// hear reads up to the next pong and checks every frame before it.
func (s *visit) hear() {
	for !s.gone {
		select {
		case f, ok := <-s.peer.frames:
			if !ok {
				s.gone = true
				return
			}
			m := message{text: f.payload}
			if f.op != websocket.Text || json.Unmarshal([]byte(f.payload), &m) != nil {
				s.t.Fatalf("a frame that is none: %d %q", f.op, f.payload)
			}
			if m.Event == "sockudo:pong" {
				return
			}
			s.check(m)
		case <-time.After(patience):
			s.t.Fatal("the server does not answer")
		}
	}
}

// check compares a frame with the subscriptions of the client. The data of an event names its channel.
func (s *visit) check(m message) {
	for _, c := range sessionChannels {
		if !s.may[c] && strings.Contains(m.text, "data-of-"+c) {
			s.t.Fatalf("data of %s, which the client is not subscribed to: %s", c, m.text)
		}
	}
	if strings.Contains(m.text, "data-of-") {
		s.heard++
	}
	if !strings.HasPrefix(m.Event, "sockudo") && m.Channel != "" && !s.may[m.Channel] {
		s.t.Fatalf("an event of a channel that the client is not subscribed to: %s", m.text)
	}
}

// serial returns a serial, valid or not.
func (s *visit) serial(channel string) string {
	at := s.at[channel].Offset
	return s.one("0", "1", fmt.Sprint(at), fmt.Sprint(at+1), fmt.Sprint(at/2), "-1", "1.5", strconv.Itoa(math.MaxInt64), "18446744073709551616",
		`"`+fmt.Sprint(at)+`"`, `"9007199254740993"`, `null`, `[]`, `9007199254740991`)
}

func (s *visit) wish() string {
	return s.one("", "", `,"rewind":3`, `,"rewind":{"count":1000000}`, `,"rewind":{"seconds":30}`, `,"rewind":{"latest":true}`, `,"rewind":-1`, `,"rewind":[]`,
		`,"filter":{"key":"k","cmp":"eq","val":"a"}`, `,"filter":{"op":"not"}`, `,"delta":true`, `,"delta":{"algorithm":"xdelta3"}`, `,"expression":"1"`)
}

func (s *visit) subscribe() {
	channel, auth, data := s.channel(), "", ""
	good := true
	if pusher.KindOf(channel).NeedsAuth() {
		if pusher.KindOf(channel).Presence() {
			data = `{"user_id":"u"}`
		}
		signed := "key:" + pusher.SignChannel("secret", s.id, channel, data, data != "")
		// a signature of another socket, of another channel, or none
		forged := []string{"", "key:" + strings.Repeat("0", 64), "other:" + signed[4:], "key:" + pusher.SignChannel("secret", "1.1", channel, data, data != ""),
			"key:" + pusher.SignChannel("secret", s.id, channel+"x", data, data != ""), signed + "0"}
		n := s.byte() % 8
		if good = n >= len(forged); good {
			auth = signed
		} else {
			auth = forged[n]
		}
		auth = fmt.Sprintf(`,"auth":%q`, auth)
		if data != "" {
			auth += fmt.Sprintf(`,"channel_data":%q`, data)
		}
	}
	if good {
		s.may[channel] = true
	}
	s.say(fmt.Sprintf(`{"event":"sockudo:subscribe","data":{"channel":%q%s%s}}`, channel, auth, s.wish()))
}

func (s *visit) resume() {
	var members []string
	for range s.byte()%4 + 1 {
		c := s.channel()
		stream := s.one(s.at[c].Epoch, s.at[c].Epoch, "other", "", strings.Repeat("x", 300))
		members = append(members, fmt.Sprintf(`%q:{"stream_id":%q,"serial":%s%s}`, c, stream, s.serial(c),
			s.one("", `,"last_message_id":"m"`, `,"bases_since":0`, `,"bases_since":1`, `,"bases_since":1,"bases_salt":7`, `,"bases_since":"x"`)))
	}
	text := `{"channel_positions":{` + strings.Join(members, ",") + `}` + s.one("", `,"socket_id":"1.1"`, `,"socket_id":7`) + `}`
	if s.byte()%5 == 0 {
		text = fmt.Sprintf(`{"channel_serials":{%q:%s}}`, s.channel(), s.serial("orders"))
	}
	s.say(fmt.Sprintf(`{"event":"sockudo:resume","data":%s}`, text))
}

func (s *visit) history() {
	c := s.channel()
	s.say(fmt.Sprintf(`{"event":"sockudo:channel_history","data":{"channel":%q,"limit":%s,"start_serial":%s,"end_serial":%s,"until_attach":%s,"direction":%s,"cursor":%s}}`,
		c, s.one("1", "1000", "0", "-1", "null"), s.serial(c), s.serial(c), s.one("true", "false", "null"), s.one(`"forwards"`, `"backwards"`, `"up"`, `null`),
		s.one("null", `"x"`, `"`+strings.Repeat("A", 400)+`"`)))
}

func (s *visit) publish() {
	for n := range s.byte()%6 + 1 {
		c := sessionChannels[(s.byte()+n)%len(sessionChannels)]
		ev := &broker.Event{Name: "tick", Data: []byte("data-of-" + c), Origin: broker.OriginHTTP, Tags: map[string]string{"k": s.one("a", "b")}, MessageID: fmt.Sprint("m", s.byte())}
		if s.byte()%4 == 0 {
			ev.ExcludeSocket = s.id
		}
		out := broker.Outgoing{Channel: c, Event: ev}
		if s.byte()%3 == 0 {
			if err := s.log.Cast(context.Background(), "app", out); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		got, err := s.log.Publish(context.Background(), "app", out)
		if err != nil {
			s.t.Fatal(err)
		}
		s.at[c] = got[0].Position
	}
}

// step takes one action.
func (s *visit) step() {
	switch s.byte() % 12 {
	case 0, 1, 2:
		s.subscribe()
	case 3:
		c := s.channel()
		s.say(fmt.Sprintf(`{"event":"sockudo:unsubscribe","data":{"channel":%q}}`, c))
		// Frames that were queued before the unsubscription precede the answer.
		s.ping()
		delete(s.may, c)
	case 4, 5:
		s.resume()
	case 6:
		s.history()
	case 7, 8:
		s.publish()
	case 9:
		s.say(s.one(`{"event":"sockudo:enable_delta_compression","data":{"algorithms":["fossil","xdelta3"]}}`,
			fmt.Sprintf(`{"event":"sockudo:delta_sync_error","data":{"channel":%q}}`, s.channel()),
			fmt.Sprintf(`{"event":"client-x","channel":%q,"data":{"x":1},"extras":{"ephemeral":true}}`, s.channel()),
			fmt.Sprintf(`{"event":"client-x","channel":%q,"data":{"x":1}}`, s.channel())))
	case 10:
		n := min(s.byte(), len(s.bytes))
		garbage := s.bytes[:n]
		s.bytes = s.bytes[n:]
		s.say(string(garbage))
	case 11:
		s.say(fmt.Sprintf(`{"event":%q,"data":%s}`, s.one("sockudo:resume", "sockudo:subscribe", "sockudo:unsubscribe", "channel_history", "pusher:subscribe"),
			s.one(`{}`, `[]`, `null`, `"x"`, `{"channel":[]}`, `{"channel_positions":[]}`, `{"channel_positions":{"orders":7}}`, strings.Repeat("[", 200)+strings.Repeat("]", 200))))
	}
}

func (s *visit) ping() {
	s.say(`{"event":"sockudo:ping","data":{}}`)
	s.hear()
}

// FuzzSessions lets a V2 client do whatever the bytes say. No data of a channel arrives without a
// subscription, nothing grows without a bound, and everything ends with the connection.
func FuzzSessions(f *testing.F) {
	f.Add([]byte("\x07\x05\x00\x00\x00\x01\x01\x00\x00\x00\x04\x01\x00\x00\x02\x00\x00\x00"))
	f.Add([]byte("\x04\x03\x03\x00\x02\x00\x00\x07\x05\x03\x00\x00\x01\x01\x03\x00\x03\x07\x07\x02\x03\x06\x00\x03\x03\x00"))
	f.Add([]byte("\x0a\x05hello\x0b\x00\x05\x09\x01\x00\x04\x00\x02\x07\x00\x01\x05\x02\x05\x01\x00\x0a\x03\x01\x00"))
	f.Add([]byte("\x00\x00\x05\x07\x05\x00\x01\x01\x01\x01\x01\x01\x09\x00\x00\x00\x0a\x09\x01\x00\x03\x00\x07\x05\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) <= 600 {
			visits(t, b)
		}
	})
}

// TestTime07SessionsOfStrangers is FuzzSessions with random bytes.
func TestTime07SessionsOfStrangers(t *testing.T) {
	fault.Seeds(t, 7, func(t *testing.T, rnd *rand.Rand) {
		heard := 0
		for range 40 {
			b := make([]byte, 500)
			for i := range b {
				b[i] = byte(rnd.UintN(256))
			}
			heard += visits(t, b)
		}
		if heard == 0 {
			t.Error("no session got any data")
		}
	})
}

// visits runs one session and returns the number of events that the client received.
func visits(t *testing.T, b []byte) int {
	r := timeRig(t, memory.Options{MaxMessages: 64}, func(o *Options, a *appT) {
		o.MaxSubscriptions, o.Filters = 4, true
		a.ClientEvents, a.ClientEventRate = true, 1000
		a.Recovery.MaxEvents = 20
	})
	s := &visit{rig: r, t: t, bytes: b, may: map[string]bool{}, at: map[string]broker.Position{}}
	s.peer, s.id = r.second()
	for len(s.bytes) > 0 && !s.gone {
		s.step()
		if s.bytes != nil && s.byte()%2 == 0 {
			s.ping()
		}
	}
	s.ping()
	if n := r.hub.library.Bytes.Load(); n > r.hub.library.Most+1<<20 {
		t.Errorf("%d bytes of the past are kept", n)
	}
	if c := r.hub.find(s.id); c != nil && !s.gone {
		c.recovery.mu.Lock()
		if n := c.recovery.parked.Len(); n > r.hub.opt.MaxSubscriptions {
			t.Errorf("%d positions are parked", n)
		}
		c.recovery.mu.Unlock()
	}
	s.peer.hangUp()
	eventually(t, "the connection has ended", func() bool { return r.hub.find(s.id) == nil })
	eventually(t, "nobody is sent the past", func() bool { return r.hub.hall.Catching.Load() == 0 })
	return s.heard
}
