package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pusherhttp "github.com/pusher/pusher-http-go/v5"
)

// hookOf signs a webhook as the server does.
func hookOf(body string) (key, signature string) { return "app-key", sum("app-secret", body) }

// hookNow returns a webhook body with the current time: the Python SDK refuses old webhooks, and a test may
// be slow.
func hookNow() string {
	return fmt.Sprintf(`{"time_ms":%d,"events":[{"name":"channel_occupied","channel":"a"}]}`, time.Now().UnixMilli())
}

// member subscribes a member to a presence channel.
func member(t *testing.T, address, channel string) *plainSocket {
	t.Helper()
	c := rawSocket(t, address)
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
	const who = `{"user_id":"7"}`
	quoted, _ := json.Marshal(who)
	c.say(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":"app-key:%s","channel_data":%s}}`,
		channel, sum("app-secret", data.SocketID+":"+channel+":"+who), quoted)
	if got := c.line(); !strings.Contains(got, "subscription_succeeded") {
		t.Fatalf("got %s", got)
	}
	return c
}

// countedMember is member, and waits until the channel query counts the member.
func countedMember(t *testing.T, address, channel string) {
	t.Helper()
	member(t, address, channel)
	eventually(t, "the member is counted", func() bool {
		resp, err := http.Get("http://" + address + "/apps/4711/channels/" + channel + "?info=subscription_count,user_count")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var got map[string]any
		return json.NewDecoder(resp.Body).Decode(&got) == nil && got["subscription_count"] == 1.0 && got["user_count"] == 1.0
	})
}

const userAuthApp = `
apps:
  - {id: "4711", key: app-key, secret: app-secret, enable_user_authentication: true}
`

// TestHS11OfficialServerSDKs publishes, queries and validates a webhook with the SDKs of Go and Python. The
// Node SDK has its own test, with a client beside it.
func TestHS11OfficialServerSDKs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, userAuthApp))
	countedMember(t, s.HTTP, "presence-sdk")
	t.Run("Go", func(t *testing.T) { goSDK(t, s) })
	t.Run("Python", func(t *testing.T) { pythonSDK(t, s) })
}

func goSDK(t *testing.T, s *server) {
	c := pusherhttp.Client{AppID: "4711", Key: "app-key", Secret: "app-secret", Host: s.HTTP}
	if err := c.TriggerMulti([]string{"sdk-a", "sdk-b"}, "event", map[string]string{"text": "é"}); err != nil {
		t.Error(err)
	}
	info := "user_count,subscription_count"
	got, err := c.TriggerWithParams("presence-sdk", "event", "2", pusherhttp.TriggerParams{Info: &info})
	if err != nil || *got.Channels["presence-sdk"].UserCount != 1 {
		t.Errorf("trigger: %+v, %v", got, err)
	}
	if _, err := c.TriggerBatch([]pusherhttp.Event{{Channel: "sdk-a", Name: "event", Data: "3"}}); err != nil {
		t.Error(err)
	}
	prefix, users := "presence-", "user_count"
	list, err := c.Channels(pusherhttp.ChannelsParams{FilterByPrefix: &prefix, Info: &users})
	if err != nil || list.Channels["presence-sdk"].UserCount != 1 {
		t.Errorf("channels: %+v, %v", list, err)
	}
	one, err := c.Channel("presence-sdk", pusherhttp.ChannelParams{Info: &info})
	if err != nil || !one.Occupied || one.UserCount != 1 || one.SubscriptionCount != 1 {
		t.Errorf("channel: %+v, %v", one, err)
	}
	in, err := c.GetChannelUsers("presence-sdk")
	if err != nil || len(in.List) != 1 || in.List[0].ID != "7" {
		t.Errorf("users: %+v, %v", in, err)
	}
	hookBody := hookNow()
	key, signature := hookOf(hookBody)
	hook, err := c.Webhook(http.Header{"X-Pusher-Key": {key}, "X-Pusher-Signature": {signature}}, []byte(hookBody))
	if err != nil || len(hook.Events) != 1 || hook.Events[0].Event != "channel_occupied" && hook.Events[0].Name != "channel_occupied" {
		t.Errorf("webhook: %+v, %v", hook, err)
	}
}

func pythonSDK(t *testing.T, s *server) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	host, port, _ := strings.Cut(s.HTTP, ":")
	cmd := exec.CommandContext(ctx, filepath.Join(root(), ".cache", "python", "bin", "python"), "server.py", host, port)
	cmd.Dir = filepath.Join(root(), "test", "interop")
	hookBody := hookNow()
	key, signature := hookOf(hookBody)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"key":%q,"signature":%q,"body":%q}`+"\n", key, signature, hookBody))
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs.String())
	}
	want := strings.Join([]string{
		`{"trigger": {}}`, `{"batch": {}}`, `{"channels": ["presence-sdk"]}`,
		`{"channel": {"occupied": true, "subscription_count": 1, "user_count": 1}}`, `{"users": [{"id": "7"}]}`,
		`{"terminate": {}}`, `{"webhook": true}`, `{"forged": false}`,
	}, "\n")
	if got := strings.TrimSpace(string(out)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
