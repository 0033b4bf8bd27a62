package name

import (
	"errors"
	"fmt"
)

// ErrInvalidToken is wrapped by every error of [Decode]: the token is not the canonical form of any name.
var ErrInvalidToken = errors.New("invalid name token")

// Classes of bytes. The values are ordered: an encoding keeps the bytes whose class is at least its own and
// escapes the others.
const (
	escaped     = 0 // never kept
	subjectOnly = 1 // kept in subjects
	plain       = 2 // kept in subjects and keys
)

// classes maps each byte to its class. It is never written after initialization.
var classes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
			t[c] = plain
		case c == ':', c == '@', c == ',', c == ';', c == '#':
			t[c] = subjectOnly
		}
	}
	return t
}()

const digits = "0123456789ABCDEF"

// Subject returns the token of s for a NATS subject or a stream name. It does
// not allocate when nothing needs escaping.
func Subject(s string) string { return encode(s, subjectOnly) }

// Key returns the token of s for a JetStream key-value key. It does not
// allocate when nothing needs escaping.
func Key(s string) string { return encode(s, plain) }

func encode(s string, keep uint8) string {
	if s == "" {
		return "="
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if classes[s[i]] < keep {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; classes[c] >= keep {
			b = append(b, c)
		} else {
			b = append(b, '=', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// Decode returns the name that [Subject] or [Key] encoded as token. Any other token gives an error that wraps
// [ErrInvalidToken]. So a name has at most two valid tokens, and no two subjects mean the same channel. It
// does not allocate when nothing was escaped.
func Decode(token string) (string, error) {
	switch token {
	case "":
		return "", fmt.Errorf("%w: empty", ErrInvalidToken)
	case "=":
		return "", nil
	}
	escapes := 0
	// A token of [Subject] has no escaped subjectOnly byte, and a token of [Key] has no unescaped one. A
	// token with both comes from neither.
	kept, hidden := false, false
	for i := 0; i < len(token); i++ {
		switch c := token[i]; {
		case classes[c] == plain:
		case classes[c] == subjectOnly:
			kept = true
		case c != '=':
			return "", fmt.Errorf("%w: byte %d must be escaped", ErrInvalidToken, i)
		default:
			if len(token)-i < 3 {
				return "", fmt.Errorf("%w: escape at byte %d is cut short", ErrInvalidToken, i)
			}
			hi, lo := digit(token[i+1]), digit(token[i+2])
			if hi > 15 || lo > 15 {
				return "", fmt.Errorf("%w: escape at byte %d is not two upper-case hexadecimal digits", ErrInvalidToken, i)
			}
			switch classes[hi<<4|lo] {
			case plain:
				return "", fmt.Errorf("%w: escape at byte %d is needless", ErrInvalidToken, i)
			case subjectOnly:
				hidden = true
			}
			escapes++
			i += 2
		}
	}
	if kept && hidden {
		return "", fmt.Errorf("%w: mixes the subject and the key form", ErrInvalidToken)
	}
	if escapes == 0 {
		return token, nil
	}
	b := make([]byte, 0, len(token)-2*escapes)
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			b = append(b, token[i])
			continue
		}
		b = append(b, digit(token[i+1])<<4|digit(token[i+2]))
		i += 2
	}
	return string(b), nil
}

// digit returns the value of an upper-case hexadecimal digit, 255 for other bytes.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
