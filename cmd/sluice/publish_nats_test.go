package main

import (
	"strings"
	"testing"
)

func TestPublishTellsWhatIsNotPermitted(t *testing.T) {
	s := natsServer(t, `authorization {users: [{user: u, password: hidden, permissions: {publish: ["ch.a.>"], subscribe: ["_INBOX.>"]}}]}`)
	url := strings.Replace(s.ClientURL(), "//", "//u:hidden@", 1)
	status, _, text := execute(t, "", "publish", "c", "x", "--nats", url, "--app", "b")
	if status == exitOK || !strings.Contains(text, `"ch.b.c"`) || strings.Contains(text, "hidden") {
		t.Errorf("status %d, %s", status, text)
	}
	if status, _, text := execute(t, "", "publish", "c", "x", "--nats", strings.Replace(url, "hidden", "other", 1)); status == exitOK || !strings.Contains(text, "Authorization") {
		t.Errorf("status %d, %s", status, text)
	}
}
