package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// cursor is the place where a page of history ended. It is bound to all parameters of the request, and
// authenticated with the secret of the app. So it works on every gateway, and nobody can forge one.
type cursor struct {
	App       string `json:"a"`
	Channel   string `json:"c"`
	Epoch     string `json:"e"`
	Direction string `json:"d"`
	Bounds    bounds `json:"b"`
	// Next is the offset at which the next page begins.
	Next uint64 `json:"n"`
}

const maxCursor = 16 << 10

var errForeignCursor = invalid("cursor belongs to another channel, direction, bounds or life of the log")

func seal(secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte("history cursor\x00"+secret))
	mac.Write(body)
	return mac.Sum(nil)[:16]
}

func (c cursor) encode(secret string) string {
	body, _ := json.Marshal(c) // texts and numbers can always be encoded
	return base64.RawURLEncoding.EncodeToString(append(seal(secret, body), body...))
}

// openCursor verifies a cursor and what it is bound to. The epoch is compared later, when the page is read, see
// [request.read].
func openCursor(text, secret string, want cursor) (c cursor, err error) {
	if len(text) > maxCursor {
		return c, invalid("cursor has %d bytes, the limit is %d", len(text), maxCursor)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < 16 || !hmac.Equal(raw[:16], seal(secret, raw[16:])) {
		return c, invalid("cursor was not made by this server")
	}
	if err := json.Unmarshal(raw[16:], &c); err != nil {
		return c, invalid("cursor was not made by this server")
	}
	want.Epoch, want.Next = c.Epoch, c.Next
	if c != want {
		return c, errForeignCursor
	}
	return c, nil
}
