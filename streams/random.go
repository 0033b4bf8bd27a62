package streams

import (
	"crypto/rand"
	"sync"
)

// idLetters is the length of an id that is made by chance, of which each letter is worth five
// bits.
const idLetters = 26

// chance is random bytes that nobody has used yet. Asking for many at a time is several times as
// quick as for those of one id.
type chance struct {
	bytes [32 * idLetters]byte
	used  int
}

var chances = sync.Pool{New: func() any { return &chance{used: 32 * idLetters} }}

// randomID is an id that nobody guesses, in the form of [rand.Text].
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
