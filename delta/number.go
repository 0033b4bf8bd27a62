package delta

import (
	"crypto/sha256"
	"encoding/binary"
)

// Salt returns the offset that is added to the numbers of a channel, so that they do not collide with numbers
// of another channel or epoch that a client may still hold. It is the first 8 bytes, big-endian, of the
// SHA-256 of the three texts, each preceded by its length as 4 bytes big-endian, so that different triples
// differ.
func Salt(app, channel, epoch string) uint64 {
	h := sha256.New()
	for _, s := range [...]string{app, channel, epoch} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Number returns the number by which clients know a publication: the low 31 bits of its offset plus the salt
// (protocol section 3.8). Some clients hold signed 32-bit integers.
func Number(offset, salt uint64) uint32 { return uint32(offset+salt) & (1<<31 - 1) }
