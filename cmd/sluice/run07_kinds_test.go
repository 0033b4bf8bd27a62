package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/secretbox"
)

// TestRun07SubscribeToEveryKindOfChannel: members joining and leaving are shown, encrypted events are
// decrypted, and an empty cache is reported.
func TestRun07SubscribeToEveryKindOfChannel(t *testing.T) {
	r := newRig(t)
	first := start(t, nil, "subscribe", "presence-room", "--url", r.url, "--user-id", "7", "--user-info", `{"name":"Ada"}`)
	first.errors.await(t, "subscribed to presence-room")
	second := start(t, nil, "subscribe", "presence-room", "--url", r.url, "--user-id", `8"<b>`)
	first.errors.await(t, `presence-room: 8"<b> has come`)
	second.interrupt()
	second.wait()
	first.errors.await(t, "has left")
	first.interrupt()
	first.wait()

	empty := start(t, nil, "subscribe", "cache-empty", "--url", r.url)
	empty.errors.await(t, "cache-empty: the cache is empty")
	empty.interrupt()
	empty.wait()

	master := []byte(strings.Repeat("k", 32))
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(master)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sealed := func(channel string, by []byte, text string) string {
		key, nonce := sha256.Sum256(append([]byte(channel), by...)), [24]byte{1, 2, 3}
		box := secretbox.Seal(nil, []byte(text), &nonce, &key)
		return fmt.Sprintf(`{"nonce":%q,"ciphertext":%q}`, base64.StdEncoding.EncodeToString(nonce[:]), base64.StdEncoding.EncodeToString(box))
	}
	const channel = "private-encrypted-orders"
	opened := start(t, nil, "subscribe", channel, "--url", r.url, "--encryption-key-file", file)
	opened.errors.await(t, "subscribed to "+channel)
	r.succeed("", "publish", channel, sealed(channel, master, "hello from inside"))
	opened.out.await(t, "hello from inside")
	for _, wrong := range []string{sealed(channel, []byte(strings.Repeat("x", 32)), "no"), sealed("private-encrypted-other", master, "no"), `{"nonce":"AA==","ciphertext":""}`, "plain", `{}`} {
		r.succeed("", "publish", channel, wrong)
	}
	r.succeed("", "publish", channel, sealed(channel, master, "the last one"))
	opened.out.await(t, "the last one")
	opened.interrupt()
	opened.wait()
	if n := strings.Count(opened.errors.String(), "cannot be decrypted"); n != 5 {
		t.Errorf("%d events could not be decrypted, want 5: %s", n, opened.errors)
	}
}

func TestRun07SubscribeIsToldWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		says string
		args []string
	}{
		{"say who joins with --user-id", []string{"presence-room"}},
		{"--user-info needs --user-id", []string{"presence-room", "--user-info", "{}"}},
		{"--user-info is no JSON", []string{"presence-room", "--user-id", "7", "--user-info", "{"}},
		{"32 bytes as base64", []string{"private-encrypted-a", "--encryption-key", "short"}},
		{"exclude each other", []string{"private-encrypted-a", "--encryption-key", "a", "--encryption-key-file", "b"}},
		{"cannot be read", []string{"private-encrypted-a", "--encryption-key-file", filepath.Join(t.TempDir(), "missing")}},
		{"by signing in", []string{"#server-to-user-7"}},
	} {
		status, _, errors := execute(t, "", append([]string{"subscribe", "--url", "http://127.0.0.1:1"}, c.args...)...)
		if status == exitOK || !strings.Contains(errors, c.says) {
			t.Errorf("%v: status %d, %s, want %q", c.args, status, errors, c.says)
		}
	}
}
