package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker/name"
)

// All Redis keys and channels are built here, because everything that one script touches must share a hash
// tag, and so a cluster slot. A tag consists of tokens of package name, which contain no brace and no colon.
//
//	PREFIX{APP:CHANNEL}:s   the stream of a channel
//	PREFIX{APP:CHANNEL}:s:probe  for a moment, to see whether the server can be written to
//	PREFIX{APP:CHANNEL}:m   its hash: newest and first offset, last time, run id
//	PREFIX{APP:CHANNEL}:k   its counts by conflation value
//	PREFIX{APP:CHANNEL}:d:  ids for duplicates, on a cluster
//	PREFIX{APP:CHANNEL}:l   where its live publications are announced, with @N behind it
//	                        in a database N that is not the first
//	PREFIX{APP}:d:          ids for duplicates of the whole app
//	PREFIX{APP}:epoch       the life of the app's log
//	PREFIX{APP}:probe       for a moment, to try out the rights at the start
type keys struct {
	prefix string
	// heard is appended to pub/sub channel names, because all databases of a server share those, unlike keys.
	// It is empty for database 0.
	heard string
}

// channelKeys are the keys of one channel.
type channelKeys struct {
	app, stream, meta, counts, dedup, live string
}

func (k keys) channel(app, channel string) channelKeys {
	var b strings.Builder
	b.Grow(len(k.prefix) + len(app) + len(channel) + 8)
	b.WriteString(k.prefix)
	b.WriteByte('{')
	b.WriteString(name.Key(app))
	b.WriteByte(':')
	b.WriteString(name.Key(channel))
	b.WriteByte('}')
	root := b.String()
	return channelKeys{app: app, stream: root + ":s", meta: root + ":m", counts: root + ":k", dedup: root + ":d:", live: root + ":l" + k.heard}
}

func (k keys) dedup(app string) string { return k.prefix + "{" + name.Key(app) + "}:d:" }
func (k keys) probe(app string) string { return k.prefix + "{" + name.Key(app) + "}:probe" }
func (k keys) epoch(app string) string { return k.prefix + "{" + name.Key(app) + "}:epoch" }

// foreign reports whether a key that begins like those of an app belongs to something else. The table of
// cluster state shares the hash tag of an app called cluster, and the work queues look like channels of an
// app called work; no token begins with a colon.
func (k keys) foreign(app, key string) bool {
	root := k.prefix + "{" + name.Key(app)
	return strings.HasPrefix(key, root+"::") || slices.Contains(k.table(), key)
}

// table returns the keys of the table of cluster state.
func (k keys) table() []string {
	root := k.prefix + tableTag + ":"
	return []string{root + "r", root + "v", root + "k", root + "x"}
}

// tableTag is the hash tag of the table of cluster state.
const tableTag = "{cluster}"

// digest maps an arbitrary id to a fixed-length text for the end of a key.
func digest(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// seriesOf names the numbering of a channel. Each channel begins at the time of its first event, so two
// channels may have the same offset.
func seriesOf(channel string) string { return digest(channel)[:16] }

// slotOf returns the slot of a key or channel by its hash tag, by CRC16 (XMODEM), see the cluster
// specification of Redis.
func slotOf(key string) uint16 {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if end := strings.IndexByte(key[open+1:], '}'); end > 0 {
			key = key[open+1 : open+1+end]
		}
	}
	crc := uint16(0)
	for i := 0; i < len(key); i++ {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc & 16383
}
