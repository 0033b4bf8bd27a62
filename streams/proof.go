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

// headerProof is the header by which a gateway proves what it claims of an event: the
// user, the door, the gateway, the message id and extras. It is a keyed hash of
// everything that the event says, of its subject and of its deduplication id. Whoever
// repeats a message with its proof repeats that event in that channel and nothing else,
// and within the window of deduplication not even that.
const headerProof = "Proof"

// claims are the headers that nobody but a gateway may write.
var claims = [...]string{headerUser, headerOrigin, headerNode, headerMessage, headerExtras}

// proven are all headers that a proof covers, in its order.
var proven = [...]string{
	nats.MsgIdHdr, headerEvent, headerTags, headerKey, headerDelta, headerExclude,
	headerUser, headerOrigin, headerNode, headerMessage, headerExtras,
}

// proofBytes is the length of a proof and of an id. An attempt to guess one is a publish.
const proofBytes = 16

// key makes keyed hashes for one purpose with one secret of an app.
type key struct{ macs sync.Pool }

// mac is a keyed hash in the making. Its state is kept, as the key takes longer to set up
// than a message to hash.
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

// field appends a text with its length, so that no two lists of texts are alike.
func field(b []byte, text string, given bool) []byte {
	if !given {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(text))+1), text...)
}

// credentials are what the secrets of an app are used for in its log. The first one
// signs, all are believed.
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

// id is the deduplication id that the log knows for one that a gateway chose. All gateways
// make the same of it, and nobody without the secret can.
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

// believes says whether a message proves what it claims.
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

// disclaimed are headers without what only gateways may say.
func disclaimed(h nats.Header) nats.Header {
	out := make(nats.Header, len(h))
	for name, values := range h {
		if !slices.Contains(claims[:], name) {
			out[name] = values
		}
	}
	return out
}
