package pusher_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestCheckChannel(t *testing.T) {
	for _, c := range []struct {
		name, channel string
		ok            bool
	}{
		{"CH-01 every permitted character", "azAZ09_-=@,.;:", true},
		{"CH-01 a name of one colon", ":", true},
		{"CH-02 a space", "a b", false},
		{"CH-02 a slash", "a/b", false},
		{"CH-02 a hash inside", "a#b", false},
		{"CH-02 a hash in front", "#a", false},
		{"CH-02 a letter that is not ASCII", "é", false},
		{"CH-02 a byte that is not UTF-8", "a\xff", false},
		{"CH-02 a NUL", "a\x00", false},
		{"CH-02 a quotation mark", `a"b`, false},
		{"CH-03 no name", "", false},
		{"CH-03 200 bytes", strings.Repeat("a", 200), true},
		{"CH-03 201 bytes", strings.Repeat("a", 201), false},
		{"CH-10 a pattern", "ticker:*", false},
		{"a channel of a user", "#server-to-user-u-7", true},
		{"a channel of no user", "#server-to-user-", false},
		{"a channel of a user with a hash in the id", "#server-to-user-#", true},
		{"a channel of a user of a user", "#server-to-user-#server-to-user-a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := pusher.CheckChannel(c.channel, 200); (err == nil) != c.ok {
				t.Errorf("got %v, want accepted: %v", err, c.ok)
			}
		})
	}
	if err := pusher.CheckChannel(strings.Repeat("a", 201), 200); err == nil ||
		!strings.Contains(err.Error(), "201") || !strings.Contains(err.Error(), "200") {
		t.Errorf("%v does not name the length and the limit", err)
	}
}

// TestCheckChannelAgreesWithASet compares CheckChannel with the sentence in the protocol.
func TestCheckChannelAgreesWithASet(t *testing.T) {
	const set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;:"
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringOfN(rapid.RuneFrom([]rune(set+"#*/ é")), 0, 20, -1), rapid.String()).Draw(t, "name")
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		rest := strings.TrimPrefix(name, "#server-to-user-")
		want := name != "" && rest != "" && len(name) <= limit && strings.Trim(rest, set) == "" &&
			strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune(set, r) }) < 0
		if got := pusher.CheckChannel(name, limit) == nil; got != want {
			t.Fatalf("%q with a limit of %d: got %v, want %v", name, limit, got, want)
		}
	})
}

func TestKindOf(t *testing.T) {
	type facts struct{ Auth, Presence, Encrypted, Cache, User bool }
	for _, c := range []struct {
		name, channel string
		want          facts
	}{
		{"a public channel", "orders", facts{}},
		{"CH-04 private-cache- inside", "my-private-cache-x", facts{}},
		{"CH-04 cache- inside", "xcache-y", facts{}},
		{"a private channel", "private-x", facts{Auth: true}},
		{"a presence channel", "presence-x", facts{Auth: true, Presence: true}},
		{"a cache channel", "cache-x", facts{Cache: true}},
		{"CH-05", "private-cache-x", facts{Auth: true, Cache: true}},
		{"CH-06", "presence-cache-x", facts{Auth: true, Presence: true, Cache: true}},
		{"an encrypted channel", "private-encrypted-x", facts{Auth: true, Encrypted: true}},
		{"CH-07", "private-encrypted-cache-x", facts{Auth: true, Encrypted: true, Cache: true}},
		{"CH-08", "private-my-cache-x", facts{Auth: true}},
		{"a prefix in upper case", "Private-x", facts{}},
		{"a prefix without its dash", "private", facts{}},
		{"a prefix alone", "private-", facts{Auth: true}},
		{"a channel of a user", "#server-to-user-private-x", facts{User: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := pusher.KindOf(c.channel)
			got := facts{k.NeedsAuth(), k.Presence(), k.Encrypted(), k.Cache(), k.ServerToUser()}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("kind of %s (-want +got):\n%s", c.channel, diff)
			}
		})
	}
}
