package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	pusherhttp "github.com/pusher/pusher-http-go/v5"
)

// signed is a signature that an SDK makes for an application's client.
type signed struct {
	Auth        string
	ChannelData string `json:"channel_data"`
	UserData    string `json:"user_data"`
}

type forms struct {
	Channels map[string]signed
	User     signed
	Answers  map[string]json.RawMessage
	Webhook  bool
}

// socketID waits for connection_established and returns the socket id.
func (c *plainSocket) socketID(t *testing.T) string {
	t.Helper()
	var established struct{ Data string }
	var data struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(c.line()), &established); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(established.Data), &data); err != nil {
		t.Fatal(err)
	}
	return data.SocketID
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// take subscribes and signs in with the signatures, as an application's page does.
func (f *forms) take(t *testing.T, c *plainSocket) {
	t.Helper()
	for channel, s := range f.Channels {
		data := ""
		if s.ChannelData != "" {
			data = `,"channel_data":` + quoted(s.ChannelData)
		}
		c.say(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q%s}}`, channel, s.Auth, data)
		if got := c.line(); !strings.Contains(got, "subscription_succeeded") {
			t.Errorf("%s: got %s", channel, got)
		}
		if strings.Contains(channel, "cache-") {
			if got := c.line(); !strings.Contains(got, `"event":"pusher:cache_miss"`) {
				t.Errorf("%s: got %s", channel, got)
			}
		}
	}
	c.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%s}}`, f.User.Auth, quoted(f.User.UserData))
	if got := c.line(); !strings.Contains(got, "signin_success") {
		t.Errorf("got %s", got)
	}
}

// TestWeeksSDKsAtEveryDoor runs the SDKs of Node, Python and Go. The requests of the Java, PHP and Ruby SDKs
// are in tables of the packages' own tests.
func TestWeeksSDKsAtEveryDoor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, userAuthApp))
	countedMember(t, s.HTTP, "presence-sdk")
	t.Run("Node", func(t *testing.T) { nodeForms(t, s) })
	t.Run("Python", func(t *testing.T) { pythonForms(t, s) })
	t.Run("Go", func(t *testing.T) { goForms(t, s) })
}

func nodeForms(t *testing.T, s *server) {
	c := rawSocket(t, s.HTTP)
	host, port, _ := strings.Cut(s.HTTP, ":")
	n := script(t, "forms.mjs", host, port)
	hookBody := hookNow()
	key, signature := hookOf(hookBody)
	fmt.Fprintf(n.in, `{"socket":%q,"hook":{"key":%q,"signature":%q,"body":%q}}`+"\n", c.socketID(t), key, signature, hookBody)
	var f forms
	n.line(&f)
	for name, want := range map[string]string{
		"list": `{"channels":{"presence-sdk":{"user_count":1}}}`, "one": `{"occupied":true,"subscription_count":1,"user_count":1}`,
		"semicolon": `{"channels":{}}`, "unknown": `400`,
	} {
		if got := string(f.Answers[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if !f.Webhook {
		t.Error("the webhook is not taken")
	}
	f.take(t, c)
	c.say(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-auth0|5f a+b","auth":""}}`)
	if got := c.line(); !strings.Contains(got, "subscription_succeeded") {
		t.Fatalf("got %s", got)
	}
	fmt.Fprintln(n.in, "{}")
	if got := c.line(); !strings.Contains(got, `"note"`) || !strings.Contains(got, "Ada") {
		t.Errorf("got %s", got)
	}
	fmt.Fprintln(n.in, "{}")
	if got := c.line(); !strings.Contains(got, `"code":4009`) || !strings.Contains(got, "terminated") {
		t.Errorf("got %s", got)
	}
}

func pythonForms(t *testing.T, s *server) {
	c := rawSocket(t, s.HTTP)
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(), ".cache", "python", "bin", "python"), "forms.py")
	cmd.Dir = filepath.Join(root(), "test", "interop")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"socket":%q}`+"\n", c.socketID(t)))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var f forms
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatal(err)
	}
	f.take(t, c)
}

func goForms(t *testing.T, s *server) {
	sdk := pusherhttp.Client{AppID: "4711", Key: "app-key", Secret: "app-secret", Host: s.HTTP}
	c := rawSocket(t, s.HTTP)
	socket := c.socketID(t)
	f := forms{Channels: map[string]signed{}}
	ask := func(channel string, text []byte, err error, into *signed) {
		t.Helper()
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", channel, err)
		}
	}
	request := func(channel string) []byte {
		return []byte(url.Values{"socket_id": {socket}, "channel_name": {channel}}.Encode())
	}
	var private, presence signed
	text, err := sdk.AuthorizePrivateChannel(request("private-x"))
	ask("private-x", text, err, &private)
	text, err = sdk.AuthorizePresenceChannel(request("presence-x"), pusherhttp.MemberData{UserID: "1", UserInfo: map[string]string{"name": "née<x"}})
	ask("presence-x", text, err, &presence)
	f.Channels["private-x"], f.Channels["presence-x"] = private, presence
	text, err = sdk.AuthenticateUser(request(""), map[string]any{"id": "auth0|5f", "name": "née<x"})
	ask("sign-in", text, err, &f.User)
	f.take(t, c)
	if err := sdk.SendToUser("auth0|5f", "note", "hello"); err != nil {
		t.Error(err)
	}
	prefix := "a;b"
	if _, err := sdk.Channels(pusherhttp.ChannelsParams{FilterByPrefix: &prefix}); err != nil {
		t.Error(err)
	}
}
