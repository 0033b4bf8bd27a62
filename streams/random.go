package streams

import (
	"crypto/rand"
	"sync"
)

// idLetters is the length of a random id. Each letter has five bits.
const idLetters = 26

// chance is a buffer of unused random bytes. Reading many at a time is several times faster than reading those of one id.
type chance struct {
	bytes [32 * idLetters]byte
	used  int
}

var chances = sync.Pool{New: func() any { return &chance{used: 32 * idLetters} }}

// randomID returns an unguessable id in the form of [rand.Text].
func randomID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	c := chances.Get().(*chance)
	defer chances.Put(c)
	if c.used == len(c.bytes) {
		_, _ = rand.Read(c.bytes[:]) // it never fails
		c.used = 0
	}
	var id [idLetters]byte
	for i, b := range c.bytes[c.used : c.used+idLetters] {
		id[i] = alphabet[b%32]
	}
	clear(c.bytes[c.used : c.used+idLetters])
	c.used += idLetters
	return string(id[:])
}
