package shelf

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluicehq/sluice/broker/secret"
)

// LeastKey is the least length of an encryption key in bytes.
const LeastKey = 32

// Keys seal and open records. Make them with [NewKeys].
type Keys struct {
	// seals are the present one, and then those that only open.
	seals []cipher.AEAD
}

// NewKeys returns keys that seal with the present one and open with any. Each has [LeastKey] bytes
// or more.
func NewKeys(present secret.Secret, earlier ...secret.Secret) (*Keys, error) {
	k := &Keys{}
	for _, s := range append([]secret.Secret{present}, earlier...) {
		if len(s) < LeastKey {
			return nil, fmt.Errorf("an encryption key must have %d bytes or more", LeastKey)
		}
		key, err := hkdf.Key(sha256.New, []byte(s.Reveal()), nil, "sluice apps of the cluster", 32)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		k.seals = append(k.seals, aead)
	}
	return k, nil
}

// record is the value of a record of the table.
type record struct {
	// Format is 1; a later release may write others.
	Format int `json:"format"`
	// Sealed is the app, empty if it was removed.
	Sealed  []byte `json:"sealed,omitempty"`
	Removed bool   `json:"removed,omitempty"`
}

// format is what this release writes and reads.
const format = 1

// maxSealed bounds a record in bytes.
const maxSealed = 60 << 10

// errSealed: no key opens it.
var errSealed = errors.New("it cannot be decrypted: it was sealed with a key that apps_encryption_key and apps_decryption_keys do not have, or was changed")

// seal writes a record of an app.
func (k *Keys) seal(id string, text []byte) ([]byte, error) {
	b, err := json.Marshal(record{Format: format, Sealed: k.seals[0].Seal(nil, nil, text, []byte(id))})
	if err == nil && len(b) > maxSealed {
		err = fmt.Errorf("the app takes %d bytes, the limit is %d", len(b), maxSealed)
	}
	return b, err
}

// removed is the record of an app that was removed.
func removed() []byte {
	b, _ := json.Marshal(record{Format: format, Removed: true}) // a constant
	return b
}

// open reads a record of an app. text is nil if it was removed; old says that it was sealed with a
// key that is not the present one.
func (k *Keys) open(id string, value []byte) (text []byte, old bool, err error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, false, errors.New("it is not a record of an app")
	}
	switch {
	case r.Format != format:
		return nil, false, fmt.Errorf("it has the format %d, and this release reads %d", r.Format, format)
	case r.Removed:
		return nil, false, nil
	}
	for i, s := range k.seals {
		if text, err := s.Open(nil, nil, r.Sealed, []byte(id)); err == nil {
			return append([]byte{}, text...), i > 0, nil
		}
	}
	return nil, false, errSealed
}
