package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/stream"
)

// TestTime04Token: the printed address is signed as documented, and opens the channels for the requested
// time.
func TestTime04Token(t *testing.T) {
	r := newRig(t)
	out := r.succeed("", "token", "private-a;b", "news", "--for", "10m")
	u, err := url.Parse(strings.TrimSpace(out))
	if err != nil || u.Path != "/app/app-key/events" || "http://"+u.Host != r.url {
		t.Fatalf("the address is %q, %v", out, err)
	}
	q := u.Query()
	mac := hmac.New(sha256.New, []byte("app-secret"))
	mac.Write([]byte("events\napp-key\nprivate-a;b\nnews\n" + q.Get("expires")))
	if q.Get("token") != hex.EncodeToString(mac.Sum(nil)) || len(q) != 3 {
		t.Errorf("the query is %v", q)
	}
	if alone := r.succeed("", "token", "private-a;b", "news", "--for", "10m", "--query"); !strings.HasPrefix(alone, "channel=private-a%3Bb&channel=news&expires=") {
		t.Errorf("the query alone is %q", alone)
	}
	resp, err := http.Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	subscribed := 0
	for in := bufio.NewScanner(resp.Body); subscribed < 2 && in.Scan(); {
		if in.Text() == "event: subscribed" {
			subscribed++
		}
	}
	if resp.StatusCode != http.StatusOK || subscribed != 2 {
		t.Errorf("the address answers %s, %d times subscribed", resp.Status, subscribed)
	}
	for _, args := range [][]string{
		{"token"}, {"token", "a", "a"}, {"token", "presence-a"}, {"token", "private-encrypted-a"}, {"token", "a b"},
		{"token", "a", "--for", "25h"}, {"token", "a", "--for", "0s"}, {"token", "#server-to-user-1"},
	} {
		if status, _, said := execute(t, "", args...); status != exitUsage {
			t.Errorf("%q: status %d, %s", args, status, said)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestTime15TokenPrintsWhatTheServerTakes: an address that the server would refuse is not printed, whatever
// is wrong with it, and the longest valid ones are.
func TestTime15TokenPrintsWhatTheServerTakes(t *testing.T) {
	r := newRig(t)
	at := func(url string, args ...string) string {
		t.Helper()
		status, out, said := execute(t, "", append(append([]string{"token"}, args...), "--url", url, "--app", "app-id", "--key", "app-key", "--secret", "app-secret")...)
		if status != 0 {
			t.Fatalf("%q at %s: status %d, %s", args, url, status, said)
		}
		return out
	}
	for _, base := range []string{r.url, strings.Replace(r.url, "http://", "ws://", 1), strings.TrimPrefix(r.url, "http://")} {
		out := at(base, "private-a", "--for", "24h")
		if !strings.HasPrefix(out, r.url+"/app/") {
			t.Errorf("for %s: %s", base, out)
		}
	}
	if out := at("wss://example.com/rt/", "a"); !strings.HasPrefix(out, "https://example.com/rt/app/app-key/events?") {
		t.Errorf("for TLS: %s", out)
	}
	var many []string
	for i := range stream.MaxChannels + 1 {
		many = append(many, fmt.Sprint("private-", i))
	}
	address := r.succeed("", append([]string{"token"}, many[1:]...)...)
	resp, err := http.Get(strings.TrimSpace(address))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a hundred channels: %s", resp.Status)
	}
	if status, _, said := execute(t, "", append([]string{"token"}, many...)...); status != exitUsage || !strings.Contains(said, "100") {
		t.Errorf("more than a hundred: status %d, %s", status, said)
	}
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, []byte("host: 127.0.0.1\nport: 6001\nwebsocket: {max_subscriptions: 2}\napps: [{id: app, key: app-key, secret: a-secret-of-its-own, max_channel_name_length: 5}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{configs.ClientURL, configs.ClientApp, configs.ClientKey, configs.ClientSecret} {
		t.Setenv(v, "")
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"a", "b"}, ""},
		{[]string{"a", "b", "c"}, "websocket.max_subscriptions"},
		{[]string{"a", "b", "c", "--url", "http://elsewhere"}, ""},
		{[]string{"abcde"}, ""},
		{[]string{"abcdef"}, "5"},
	} {
		status, _, said := execute(t, "", append([]string{"token", "--config", file}, c.args...)...)
		if c.says == "" && status != 0 || c.says != "" && (status != exitUsage || !strings.Contains(said, c.says)) {
			t.Errorf("%q: status %d, %s", c.args, status, said)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
