package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// member subscribes a fresh connection to a channel that needs a signature.
func (r *rig) member(channel string) *peer {
	r.t.Helper()
	p, id := r.connect()
	p.subscribeSigned(id, channel)
	return p
}

func (p *peer) subscribeSigned(id, channel string) {
	p.t.Helper()
	p.say(`{"event":"pusher:subscribe","data":{"auth":"key:%s","channel":%q}}`, pusher.SignChannel("secret", id, channel, "", false), channel)
	p.want("pusher_internal:subscription_succeeded")
}

// refusing is a publisher that fails with err.
type refusing struct{ err error }

func (r refusing) Publish(context.Context, string, ...broker.Outgoing) ([]broker.Receipt, error) {
	return nil, r.err
}

func (r refusing) Cast(context.Context, string, ...broker.Outgoing) error { return r.err }

func clientEvents(_ *Options, a *appT) { a.ClientEvents, a.ClientEventRate = true, 10 }

func TestClientEvents(t *testing.T) {
	t.Run("CE-01 CE-05 others get the event as it was sent, the sender does not", func(t *testing.T) {
		r := newRig(t, clientEvents)
		a, b := r.member("private-room"), r.member("private-room")
		for _, data := range []string{`{"on": true,"n":1.50}`, `[1, 2]`, `"text é\u00e9"`, `12.50`, `true`, `null`} {
			a.say(`{"event":"client-typing","channel":"private-room","data":%s}`, data)
			want := `{"event":"client-typing","channel":"private-room","data":` + data + `}`
			if m := b.want("client-typing"); m.text != want {
				t.Errorf("got %s, want %s", m.text, want)
			}
		}
		a.usable()
	})
	t.Run("CE-02 refused unless the app enables them", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.member("private-room")
		p.say(`{"event":"client-typing","channel":"private-room","data":{}}`)
		if m := p.want("pusher:error"); !strings.Contains(m.text, `"code":4301`) {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("CE-03 refused on public and cache channels and without a subscription", func(t *testing.T) {
		r := newRig(t, clientEvents)
		p := r.member("private-room")
		p.subscribe("room")
		p.subscribe("cache-room")
		for _, channel := range []string{"room", "cache-room", "private-other", ""} {
			p.say(`{"event":"client-typing","channel":%q,"data":{}}`, channel)
			if m := p.want("pusher:error"); !strings.Contains(m.text, `"code":4009`) {
				t.Errorf("%s: got %s", channel, m.text)
			}
		}
	})
	t.Run("CE-04 accepted on private channels of all kinds", func(t *testing.T) {
		r := newRig(t, clientEvents)
		for _, channel := range []string{"private-a", "private-cache-a"} {
			a, b := r.member(channel), r.member(channel)
			a.say(`{"event":"client-x","channel":%q,"data":{"x":1}}`, channel)
			b.want("client-x")
		}
	})
	t.Run("CE-07 CE-08 the eleventh in a second is dropped, later ones are not", func(t *testing.T) {
		r := newRig(t, clientEvents)
		a, b := r.member("private-room"), r.member("private-room")
		for n := range 11 {
			a.say(`{"event":"client-n%d","channel":"private-room","data":{}}`, n)
		}
		if m := a.want("pusher:error"); !strings.Contains(m.text, `"code":4301`) {
			t.Errorf("got %s", m.text)
		}
		r.clock.Add(int64(time.Second))
		a.say(`{"event":"client-again","channel":"private-room","data":{}}`)
		for n := range 10 {
			b.want(fmt.Sprint("client-n", n))
		}
		b.want("client-again")
	})
	t.Run("CE-09 data above the limit is refused", func(t *testing.T) {
		r := newRig(t, clientEvents)
		a, b := r.member("private-room"), r.member("private-room")
		a.say(`{"event":"client-x","channel":"private-room","data":"%s"}`, strings.Repeat("x", 10*1024-1))
		if m := a.want("pusher:error"); !strings.Contains(m.text, `"code":4301`) || !strings.Contains(m.text, "10240") {
			t.Errorf("got %s", m.text)
		}
		a.say(`{"event":"client-y","channel":"private-room","data":"%s"}`, strings.Repeat("x", 10*1024-2))
		b.want("client-y")
	})
	t.Run("what the log refuses is not called ephemeral unless it is", func(t *testing.T) {
		for _, err := range []error{&broker.Refused{Reason: "its memory is full", Cause: errors.New("OOM")}, broker.ErrUnavailable} {
			_, lasts := err.(*broker.Refused)
			r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
				clientEvents(o, a)
				o.Publisher = refusing{err}
			})
			p, id := r.second()
			p.joinSigned(id, "private-room")
			for extras, want := range map[string]string{
				`{}`:                 "the event could not be stored",
				`{"ephemeral":true}`: map[bool]string{true: "ephemeral events are not offered", false: "the event could not be sent; try again"}[lasts],
			} {
				p.say(`{"event":"client-move","channel":"private-room","data":{},"extras":%s}`, extras)
				if m := p.want("sockudo:error"); !strings.Contains(m.text, want) {
					t.Errorf("%v, extras %s: got %s, want %q", err, extras, m.text, want)
				}
			}
		}
	})
	t.Run("CE-10 a name without client- is not relayed", func(t *testing.T) {
		r := newRig(t, clientEvents)
		a, b := r.member("private-room"), r.member("private-room")
		a.say(`{"event":"typing","channel":"private-room","data":{}}`)
		a.say(`{"event":"client-typing","channel":"private-room","data":{}}`)
		b.want("client-typing")
	})
	t.Run("DS-34 in a subscription with deltas they are tracked", func(t *testing.T) {
		r := newRig(t, clientEvents)
		p, id := r.connect()
		p.asked(`{}`)
		p.subscribeSigned(id, "private-room")
		a, d := r.member("private-room"), decode(p)
		for n := range 3 {
			a.say(`{"event":"client-move","channel":"private-room","data":%s}`, tick(n))
			text, form := d.next()
			if !strings.Contains(text, `"data":`+tick(n)+`,"sequence":`) || (form == "delta") != (n > 0) {
				t.Errorf("event %d came %s: %s", n, form, text)
			}
		}
	})
}

func TestSignIn(t *testing.T) {
	on := func(_ *Options, a *appT) { a.UserAuth = true }
	signIn := func(p *peer, id, secret, user string) message {
		p.t.Helper()
		p.say(`{"event":"pusher:signin","data":{"auth":"key:%s","user_data":%q}}`, pusher.SignUser(secret, id, user), user)
		return p.next()
	}
	const ada = `{"id":"u-7", "watchlist":["u-8"]}`
	t.Run("US-01 US-04 a right sign-in is echoed byte for byte, and again", func(t *testing.T) {
		r := newRig(t, on)
		p, id := r.connect()
		for range 2 {
			m := signIn(p, id, "secret", ada)
			if want := `{"user_data":"{\"id\":\"u-7\", \"watchlist\":[\"u-8\"]}"}`; m.Event != "pusher:signin_success" || m.str() != want {
				t.Errorf("got %s", m.text)
			}
		}
		if m := signIn(p, id, "secret", `{"id":"u-9"}`); m.Event != "pusher:error" || !strings.Contains(m.text, "4009") {
			t.Errorf("as another user: %s", m.text)
		}
	})
	t.Run("US-02 US-03 a wrong one is refused", func(t *testing.T) {
		r := newRig(t, on)
		p, id := r.connect()
		for _, c := range []struct{ secret, user string }{{"other", ada}, {"secret", `{"id":""}`}, {"secret", `{"id":7}`}, {"secret", `{}`}, {"secret", `[]`}} {
			if m := signIn(p, id, c.secret, c.user); m.Event != "pusher:error" || !strings.Contains(m.text, `"code":4009`) {
				t.Errorf("%s: %s", c.user, m.text)
			}
		}
		p.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-u-7"}}`)
		p.want("pusher:error")
		p.want("pusher:subscription_error")
	})
	t.Run("US-05 US-06 US-07 events to a user reach all its connections and nobody else", func(t *testing.T) {
		r := newRig(t, on)
		var mine []*peer
		for range 2 {
			p, id := r.connect()
			signIn(p, id, "secret", ada)
			p.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-u-7"}}`)
			p.want("pusher_internal:subscription_succeeded")
			p.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-u-70"}}`)
			p.want("pusher:error")
			p.want("pusher:subscription_error")
			mine = append(mine, p)
		}
		r.publish("#server-to-user-u-7", "note", `{"x":1}`)
		for _, p := range mine {
			if m := p.want("note"); m.Channel != "#server-to-user-u-7" {
				t.Errorf("got %s", m.text)
			}
		}
	})
	t.Run("US-06 who has signed in gets them without a subscription, and a subscription later changes nothing", func(t *testing.T) {
		r := newRig(t, on)
		p, other := r.signedIn("u-7"), r.signedIn("u-8")
		r.publish("#server-to-user-u-7", "first", `{"n":1}`)
		p.want("first")
		p.subscribe("#server-to-user-u-7")
		r.publish("#server-to-user-u-7", "second", `{"n":2}`)
		p.want("second")
		p.say(`{"event":"pusher:unsubscribe","data":{"channel":"#server-to-user-u-7"}}`)
		p.usable()
		r.publish("#server-to-user-u-7", "third", `{"n":3}`)
		r.publish("#server-to-user-u-8", "fourth", `{"n":4}`)
		other.want("fourth")
		p.usable()
	})
	t.Run("off unless the app enables it", func(t *testing.T) {
		r := newRig(t, nil)
		p, id := r.connect()
		if m := signIn(p, id, "secret", ada); m.Event != "pusher:error" {
			t.Errorf("got %s", m.text)
		}
	})
}

// TestEcho: whether a V2 client gets its own client events.
func TestEcho(t *testing.T) {
	join := func(r *rig, query string) *peer {
		p := r.dial("/app/key?protocol=2" + query)
		id := established(t, p.want("sockudo:connection_established"))
		p.say(`{"event":"sockudo:subscribe","data":{"channel":"private-a","auth":"key:%s"}}`, pusher.SignChannel("secret", id, "private-a", "", false))
		p.want("sockudo_internal:subscription_succeeded")
		return p
	}
	for _, c := range []struct {
		name, query, extras string
		hears               bool
	}{
		{"V2-05 a sender gets its own event", "", "", true},
		{"V2-05 not with echo_messages=false", "&echo_messages=false", "", false},
		{"V2-05 not with extras.echo false", "", `,"extras":{"echo":false}`, false},
		{"V2-05 with extras.echo true whatever the connection says", "&echo_messages=false", `,"extras":{"echo":true}`, true},
		{"what makes no sense changes nothing", "&echo_messages=maybe", `,"extras":{"echo":"no"}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, clientEvents)
			p, other := join(r, c.query), join(r, "")
			p.say(`{"event":"client-x","channel":"private-a","data":{"n":1}%s}`, c.extras)
			if m := other.want("client-x"); string(m.Data) != `{"n":1}` {
				t.Errorf("another one got %s", m.text)
			}
			if c.hears {
				p.want("client-x")
			}
			p.alive()
		})
	}
	t.Run("V2-01 V1 prefixes are understood as well", func(t *testing.T) {
		r := newRig(t, clientEvents)
		p := r.dial("/app/key?protocol=2")
		p.want("sockudo:connection_established")
		p.say(`{"event":"pusher:subscribe","data":{"channel":"c"}}`)
		p.want("sockudo_internal:subscription_succeeded")
		p.say(`{"event":"pusher:ping","data":{}}`)
		p.want("sockudo:pong")
	})
	t.Run("V2-01 V1 understands the prefixes of V2, and answers with its own", func(t *testing.T) {
		r := newRig(t, clientEvents)
		p := r.dial("/app/key?protocol=7")
		p.want("pusher:connection_established")
		p.say(`{"event":"sockudo:subscribe","data":{"channel":"c"}}`)
		p.want("pusher_internal:subscription_succeeded")
		p.say(`{"event":"sockudo:ping","data":{}}`)
		p.want("pusher:pong")
		p.say(`{"event":"sockudo:subscribe","data":{"channel":"d","auth":5}}`)
		p.want("pusher:error")
		if m := p.want("pusher:subscription_error"); m.Channel != "d" {
			t.Errorf("got %s", m.text)
		}
		p.say(`{"event":"sockudo:resume","data":{"channel_positions":{"c":{"serial":1}}}}`) // RE-09
		if m := p.want("pusher:error"); !strings.Contains(m.text, "4303") {
			t.Errorf("got %s", m.text)
		}
		p.say(`{"event":"sockudo:channel_history","data":{"channel":"c"}}`)
		if m := p.want("pusher:error"); !strings.Contains(m.text, "protocol 2") {
			t.Errorf("got %s", m.text)
		}
		p.say(`{"event":"sockudo:enable_delta_compression"}`)
		p.want("pusher:delta_compression_enabled")
		p.say(`{"event":"sockudo:unsubscribe","data":{"channel":"c"}}`)
		p.say(`{"event":"pusher:ping"}`)
		p.want("pusher:pong")
		r.publish("c", "tick", "1")
		p.say(`{"event":"pusher:ping"}`)
		p.want("pusher:pong")
	})
	t.Run("TF-07 an expression is refused", func(t *testing.T) {
		r := newRig(t, clientEvents)
		for _, value := range []string{`"a == 1"`, `{}`, `true`} {
			p := r.dial("/app/key?protocol=2")
			p.want("sockudo:connection_established")
			p.say(`{"event":"sockudo:subscribe","data":{"channel":"c","expression":%s}}`, value)
			p.want("sockudo:error")
			if m := p.want("sockudo:subscription_error"); !strings.Contains(m.str(), `"FilterError"`) || !strings.Contains(m.str(), "expression") {
				t.Errorf("got %s", m.text)
			}
			p.alive()
		}
	})
}
