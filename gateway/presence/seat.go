package presence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/sluicehq/sluice/broker/name"
)

// seat identifies what one gateway has in one channel: a user, or with an empty user its subscriptions.
type seat struct{ app, channel, node, user string }

// content is the value of a seat's record.
type content struct {
	User string          `json:"u,omitempty"`
	Info json.RawMessage `json:"i,omitempty"`
	// Count is the number of subscriptions, of a seat without a user. First is the revision with which there
	// first were some, also if there are none any more, 0 if that is the revision of the record.
	Count int    `json:"n,omitempty"`
	First uint64 `json:"f,omitempty"`
	// Gone: the seat was given up. Its record stays for a while, so that a gateway that begins to follow sees
	// that the user has just left. Since is the revision with which the seat was held.
	Gone  bool   `json:"g,omitempty"`
	Since uint64 `json:"s,omitempty"`
}

// maxUserToken bounds the part of a key that is made of a user's id. Longer ones are replaced by a hash, and
// the id itself is in the value.
const maxUserToken = 200

func userToken(user string) string {
	token := name.Key(user)
	if len(token) <= maxUserToken {
		return token
	}
	sum := sha256.Sum256([]byte(user))
	// No encoded name has an x after =.
	return "=x" + hex.EncodeToString(sum[:])
}

func (s seat) key() string {
	return "seat." + name.Key(s.app) + "." + name.Key(s.channel) + "." + name.Key(s.node) + "." + userToken(s.user)
}

// These are patterns for the seats of a channel, an app, a gateway.
func channelPattern(app, channel string) string {
	return "seat." + name.Key(app) + "." + name.Key(channel) + ".>"
}
func appPattern(app string) string   { return "seat." + name.Key(app) + ".>" }
func nodePattern(node string) string { return "seat.*.*." + name.Key(node) + ".*" }

// nodeOf returns the gateway of a seat from its key.
func nodeOf(key string) (string, bool) {
	words := strings.Split(key, ".")
	if len(words) != 5 || words[0] != "seat" {
		return "", false
	}
	node, err := name.Decode(words[3])
	return node, err == nil
}

// parse parses the record of a seat.
func parse(key string, value []byte) (seat, content, bool) {
	words := strings.Split(key, ".")
	if len(words) != 5 || words[0] != "seat" {
		return seat{}, content{}, false
	}
	var n content
	if json.Unmarshal(value, &n) != nil {
		return seat{}, content{}, false
	}
	s := seat{user: n.User}
	for i, to := range []*string{&s.app, &s.channel, &s.node} {
		var err error
		if *to, err = name.Decode(words[i+1]); err != nil {
			return seat{}, content{}, false
		}
	}
	return s, n, s.key() == key
}
