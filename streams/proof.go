package streams

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// headerProof is the header with which a gateway proves its claims about an event: the user, the origin, the gateway,
// the message id and the extras. It is a keyed hash of the whole event, its subject and its deduplication id. Anyone
// can publish a copy of a message with its proof, but that only repeats the same event in the same channel, and within
// the deduplication window it does nothing.
const headerProof = "Proof"

// claims are the headers that only gateways may write.
var claims = [...]string{headerUser, headerOrigin, headerNode, headerMessage, headerExtras}

// proven are the headers that a proof covers, in the order in which they are hashed.
var proven = [...]string{
	nats.MsgIdHdr, headerEvent, headerTags, headerKey, headerDelta, headerExclude,
	headerUser, headerOrigin, headerNode, headerMessage, headerExtras,
}

// proofBytes is the length of a proof and of an id, in bytes. Each attempt to guess one costs a publish.
const proofBytes = 16

// key computes keyed hashes for one purpose with one secret of an app. Safe for concurrent use.
type key struct{ macs sync.Pool }

// mac is the state of one hash computation. It is pooled, because setting up the key takes longer than hashing a
// message.
type mac struct {
	hash hash.Hash
	buf  []byte
	sum  [sha256.Size]byte
}

func newKey(secret Secret, app, purpose string) *key {
	derive := hmac.New(sha256.New, []byte(secret))
	derive.Write([]byte("sluice " + purpose + "\x00" + app))
	own := derive.Sum(nil)
	k := &key{}
	k.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, own)} }
	return k
}

// text returns the keyed hash of a text.
func (k *key) text(text string) string {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.hash.Reset()
	m.buf = append(m.buf[:0], text...)
	m.hash.Write(m.buf)
	return base64.RawURLEncoding.EncodeToString(m.hash.Sum(m.sum[:0])[:proofBytes])
}

// of computes the proof of a message into m.
func (m *mac) of(subject string, h nats.Header, data []byte) []byte {
	m.buf = field(m.buf[:0], subject, true)
	for _, name := range proven {
		text := ""
		values, given := h[name]
		if n := len(values); n > 0 {
			text = values[n-1]
		}
		m.buf = field(m.buf, text, given)
	}
	m.hash.Reset()
	m.hash.Write(m.buf)
	m.hash.Write(data)
	return m.hash.Sum(m.sum[:0])[:proofBytes]
}

// field appends a text with its length, so that different lists of texts never give the same bytes.
func field(b []byte, text string, given bool) []byte {
	if !given {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(text))+1), text...)
}

// credentials are the keys derived from the secrets of an app. The first secret signs; proofs of all of them are
// accepted.
type credentials struct {
	ids    *key
	proofs []*key
}

func newCredentials(app string, secrets []Secret) *credentials {
	c := &credentials{ids: newKey(secrets[0], app, "ids of events")}
	for _, s := range secrets {
		c.proofs = append(c.proofs, newKey(s, app, "claims of gateways"))
	}
	return c
}

// id returns the deduplication id in the log for an id that was given to a gateway. All gateways derive the same one, and
// it cannot be derived without the secret.
func (c *credentials) id(chosen string) string { return "gateway/" + c.ids.text(chosen) }

// sign adds the proof to a message.
func (c *credentials) sign(m *nats.Msg) {
	if c == nil {
		return
	}
	k := c.proofs[0]
	hash := k.macs.Get().(*mac)
	defer k.macs.Put(hash)
	var text [(8*proofBytes + 5) / 6]byte
	base64.RawURLEncoding.Encode(text[:], hash.of(m.Subject, m.Header, m.Data))
	m.Header[headerProof] = []string{string(text[:])}
}

// believes reports whether the proof of a message is valid.
func (c *credentials) believes(subject string, h nats.Header, data []byte) bool {
	var given [proofBytes]byte
	text := last(h, headerProof)
	if c == nil || len(text) != base64.RawURLEncoding.EncodedLen(proofBytes) {
		return false
	}
	if _, err := base64.RawURLEncoding.Decode(given[:], []byte(text)); err != nil {
		return false
	}
	for _, k := range c.proofs {
		m := k.macs.Get().(*mac)
		same := hmac.Equal(given[:], m.of(subject, h, data))
		k.macs.Put(m)
		if same {
			return true
		}
	}
	return false
}

func claiming(h nats.Header) bool {
	for _, name := range claims {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// disclaimed returns the headers without those that only gateways may write.
func disclaimed(h nats.Header) nats.Header {
	out := make(nats.Header, len(h))
	for name, values := range h {
		if !slices.Contains(claims[:], name) {
			out[name] = values
		}
	}
	return out
}
