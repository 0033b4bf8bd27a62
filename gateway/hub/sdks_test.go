package hub

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestWeeksSDKsSignatures subscribes and signs in with the JSON texts that the official server SDKs sign, as
// their JSON encoders produce them.
func TestWeeksSDKsSignatures(t *testing.T) {
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for _, c := range []struct{ sdk, channel, data string }{
		{"PHP authorizeChannel", "private-x", ""},
		{"PHP authorizeChannel with data", "private-x", `{"user_id":"1","user_info":{"name":"n\u00e9e\/x"}}`},
		{"PHP authorizePresenceChannel", "presence-x", `{"user_id":"1","user_info":{"name":"n\u00e9e\/x"}}`},
		{"PHP without user_info", "presence-x", `{"user_id":"1"}`},
		{"PHP of an encrypted channel", "private-encrypted-x", ""},
		{"Node authorizeChannel", "private-x", ""},
		{"Node with data", "private-cache-x", `{"user_id":"1","user_info":{"name":"née/x"}}`},
		{"Node with a number", "presence-x", `{"user_id":1}`},
		{"Node of an encrypted channel with data", "private-encrypted-x", `{"user_id":"1"}`},
		{"Python authenticate", "private-x", ""},
		{"Python with data", "private-x", `{"user_id": "1", "user_info": {"name": "n\u00e9e/x"}}`},
		{"Python presence", "presence-x", `{"user_id": "1", "user_info": {"name": "n\u00e9e/x"}}`},
		{"Go AuthorizePrivateChannel", "private-x", ""},
		{"Go AuthorizePresenceChannel", "presence-x", `{"user_id":"1","user_info":{"name":"n\u003cx"}}`},
		{"Java authenticate", "private-x", ""},
		{"Java presence", "presence-x", `{"user_id":"1","user_info":{"name":"n\u003cx"}}`},
		{"Java presence with a number", "presence-x", `{"user_id":1}`},
		{"Ruby authenticate", "private-x", ""},
		{"Ruby with data", "private-x", `{"user_id":"1","user_info":{"name":"née"}}`},
		{"Ruby presence", "presence-cache-x", `{"user_id":"1","user_info":{"name":"née"}}`},
	} {
		t.Run(c.sdk, func(t *testing.T) {
			if strings.HasPrefix(c.channel, "presence-") {
				// A member would need a table. Only the signature matters here.
				s := pusher.Subscribe{Channel: c.channel, ChannelData: c.data, HasChannelData: true, Auth: "key:" + pusher.SignChannel("secret", "1.2", c.channel, c.data, true)}
				if err := pusher.VerifySubscription("key", "secret", "1.2", &s); err != nil {
					t.Error(err)
				}
				return
			}
			r := newRig(t, nil)
			p, id := r.connect()
			members := ""
			if c.data != "" {
				members = `,"channel_data":` + quote(c.data)
			}
			if m := p.ask(c.channel, pusher.SignChannel("secret", id, c.channel, c.data, c.data != ""), members); m.Event != "pusher_internal:subscription_succeeded" {
				t.Errorf("got %s", m.text)
			}
		})
	}
	for sdk, data := range map[string]string{
		"PHP":    `{"id":"auth0|5f","name":"n\u00e9e\/x","watchlist":["1"]}`,
		"Node":   `{"id":"auth0|5f","name":"née/x","watchlist":["1"]}`,
		"Python": `{"id": "user@example.com", "name": "n\u00e9e/x"}`,
		"Go":     `{"id":"auth0|5f","name":"n\u003cx"}`,
		"Ruby":   `{"id":"auth0|5f","name":"née"}`,
	} {
		t.Run(sdk+" sign-in", func(t *testing.T) {
			r := newRig(t, func(_ *Options, a *appT) { a.UserAuth = true })
			p, id := r.connect()
			p.signIn(id, data)
			p.usable()
		})
	}
}
