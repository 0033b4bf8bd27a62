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

// LeastKey is the minimum length of an encryption key in bytes.
const LeastKey = 32

// Keys encrypt and decrypt records. [NewKeys] creates them. They are safe for concurrent use.
type Keys struct {
	// seals are the present key, and then those that only decrypt.
	seals []cipher.AEAD
}

// NewKeys returns keys that encrypt with the present one and decrypt with any. Each must have at least
// [LeastKey] bytes.
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

// record is the value of a record in the table.
type record struct {
	// Format is 1; a later release may write other formats.
	Format int `json:"format"`
	// Sealed is the encrypted app, empty if it was removed.
	Sealed  []byte `json:"sealed,omitempty"`
	Removed bool   `json:"removed,omitempty"`
}

// format is the format that this release writes and reads.
const format = 1

// maxSealed bounds a record in bytes.
const maxSealed = 60 << 10

// errSealed is the error of a record that no key decrypts.
var errSealed = errors.New("it cannot be decrypted: it was sealed with a key that apps_encryption_key and apps_decryption_keys do not have, or was changed")

// seal returns the record of an app.
func (k *Keys) seal(id string, text []byte) ([]byte, error) {
	b, err := json.Marshal(record{Format: format, Sealed: k.seals[0].Seal(nil, nil, text, []byte(id))})
	if err == nil && len(b) > maxSealed {
		err = fmt.Errorf("the app takes %d bytes, the limit is %d", len(b), maxSealed)
	}
	return b, err
}

// removed returns the record of a removed app.
func removed() []byte {
	b, _ := json.Marshal(record{Format: format, Removed: true}) // a constant, so there is no error
	return b
}

// open decrypts the record of an app. text is nil if the app was removed; old reports whether it is encrypted
// with an earlier key.
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
