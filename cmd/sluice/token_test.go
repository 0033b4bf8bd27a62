package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestTime04Token: the address that is printed is signed as the documents say, and opens the
// channels for as long as was asked for.
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
