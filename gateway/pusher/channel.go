package pusher

import (
	"fmt"
	"strings"
)

// Kind is the set of properties that the name of a channel gives it (protocol section 1.6).
type Kind uint8

const (
	private Kind = 1 << iota
	presence
	encrypted
	cache
	serverToUser
)

// userPrefix is the prefix of the channels of signed-in users.
const userPrefix = "#server-to-user-"

// kinds are compared in order, so longer prefixes come first.
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

// KindOf returns the kind of the channel with a name.
func KindOf(name string) Kind {
	for i := range kinds {
		if strings.HasPrefix(name, kinds[i].prefix) {
			return kinds[i].kind
		}
	}
	return 0
}

// UserChannel returns the name of the channel of a signed-in user.
func UserChannel(user string) string { return userPrefix + user }

// NeedsAuth reports whether subscribing needs a signature.
func (k Kind) NeedsAuth() bool { return k&(private|presence) != 0 }

// Presence reports whether the channel has members.
func (k Kind) Presence() bool { return k&presence != 0 }

// Encrypted reports whether the payloads are encrypted end to end, so that the server cannot read them.
func (k Kind) Encrypted() bool { return k&encrypted != 0 }

// Cache reports whether the channel keeps its last event.
func (k Kind) Cache() bool { return k&cache != 0 }

// ServerToUser reports whether the channel belongs to one signed-in user.
func (k Kind) ServerToUser() bool { return k&serverToUser != 0 }

// CheckChannel checks a channel name of at most max bytes (protocol section 1.6). For the channel of a user, the
// limit of user ids applies instead.
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
