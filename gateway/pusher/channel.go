package pusher

import (
	"fmt"
	"strings"
)

// Kind says what a channel's name makes of it (protocol section 1.6).
type Kind uint8

const (
	private Kind = 1 << iota
	presence
	encrypted
	cache
	serverToUser
)

// userPrefix begins the names of channels that reach one signed-in user.
const userPrefix = "#server-to-user-"

// kinds are tried in order, so longer prefixes come first.
var kinds = [...]struct {
	prefix string
	kind   Kind
}{
	{userPrefix, serverToUser},
	{"private-encrypted-cache-", private | encrypted | cache},
	{"private-encrypted-", private | encrypted},
	{"private-cache-", private | cache},
	{"private-", private},
	{"presence-cache-", presence | cache},
	{"presence-", presence},
	{"cache-", cache},
}

// KindOf reads the kind off a channel name.
func KindOf(name string) Kind {
	for i := range kinds {
		if strings.HasPrefix(name, kinds[i].prefix) {
			return kinds[i].kind
		}
	}
	return 0
}

// UserChannel is the channel that reaches a signed-in user.
func UserChannel(user string) string { return userPrefix + user }

// NeedsAuth is true for channels that are subscribed to with a signature.
func (k Kind) NeedsAuth() bool { return k&(private|presence) != 0 }

// Presence is true for channels that have members.
func (k Kind) Presence() bool { return k&presence != 0 }

// Encrypted is true for channels whose payloads the server cannot read.
func (k Kind) Encrypted() bool { return k&encrypted != 0 }

// Cache is true for channels that remember their last event.
func (k Kind) Cache() bool { return k&cache != 0 }

// ServerToUser is true for channels of one signed-in user.
func (k Kind) ServerToUser() bool { return k&serverToUser != 0 }

// CheckChannel checks a channel name of at most max bytes (protocol section 1.6). That of
// a user's channel is bounded by the id of the user instead.
func CheckChannel(name string, max int) error {
	if name == "" {
		return fmt.Errorf("channel name is empty")
	}
	if user, ok := strings.CutPrefix(name, userPrefix); ok {
		if err := CheckUserID(user); err != nil {
			return fmt.Errorf("channel name %.64q names no user: %w", name, err)
		}
		return nil
	}
	if len(name) > max {
		return fmt.Errorf("channel name has %d bytes, the limit is %d", len(name), max)
	}
	for i := 0; i < len(name); i++ {
		if !channelByte(name[i]) {
			return fmt.Errorf("channel name %.64q is not made of A-Z a-z 0-9 and _-=@,.;: alone", name)
		}
	}
	return nil
}

func channelByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("_-=@,.;:", c) >= 0
}
