package rest

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// mistake notes that a member has a value of a wrong type.
func (s *scanner) mistake(got, member, want string) {
	if s.mistaken == nil {
		s.mistaken = pusher.Mistake(s.within+member, want, got)
	}
}

// other reads a value that is not what the member should have. What is null stands for no
// value, and is no mistake; then other returns true.
func (s *scanner) other(member, want string) (null bool) {
	if null = s.peek() == 'n'; !null {
		s.mistake(kindOf(s.peek()), member, want)
	}
	s.skip()
	return null
}

// kindOf names the kind of value that begins with a byte.
func kindOf(c byte) string {
	switch c {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	}
	return "number"
}

// string reads a string. What is null leaves it as it is.
func (s *scanner) string(into *string, member string) {
	if s.peek() != '"' {
		s.other(member, pusher.WantText)
		return
	}
	*into = plainText(s.quoted())
}

// maybeString reads a string that may be missing, which null says as well.
func (s *scanner) maybeString(into **string, member string) {
	if s.peek() != '"' {
		if s.other(member, pusher.WantText) {
			*into = nil
		}
		return
	}
	text := plainText(s.quoted())
	*into = &text
}

// maybeBool reads a boolean that may be missing.
func (s *scanner) maybeBool(into **bool, member string) {
	switch c := s.peek(); c {
	case 't', 'f':
		s.skip()
		value := c == 't'
		*into = &value
	default:
		if s.other(member, pusher.WantBool) {
			*into = nil
		}
	}
}

// wholeNumber reads a number that fits a type, and returns whether there was one that is not
// null.
func (s *scanner) wholeNumber(member, want string, fits func(text string) error) bool {
	c := s.peek()
	if c != '-' && (c < '0' || c > '9') {
		return !s.other(member, want)
	}
	if text := string(s.skip()); s.wrong == nil && fits(text) != nil {
		s.mistake("number "+text, member, want)
	}
	return true
}

func fitsUint64(text string) error {
	_, err := strconv.ParseUint(text, 10, 64)
	return err
}

func fitsInt64(text string) error {
	_, err := strconv.ParseInt(text, 10, 64)
	return err
}

// grown is a list with room for the element i, and keeps what is there of it: a member that
// comes again is read over what it was before.
func grown[T any](list []T, i int) []T {
	if i >= cap(list) {
		var none T
		return append(list[:i], none)
	}
	return list[:max(len(list), i+1)]
}

// fieldOf is the place of the one of these names that a member has as it is written, -1 if it has
// none of them. Case does not matter.
func fieldOf(written []byte, names []string) int {
	for i, name := range names {
		if string(written) == name {
			return i
		}
	}
	text := unescaped(written)
	for i, name := range names {
		if bytes.EqualFold(text, []byte(name)) {
			return i
		}
	}
	return -1
}

// fields are the names that mean something in an object, and which of them it has had: of members of one
// name the first counts, as it does for clients.
type fields struct {
	names []string
	had   uint32
}

// of is the name of a member as it is written, "" if it means nothing here.
func (f *fields) of(written []byte) string {
	i := fieldOf(written, f.names)
	if i < 0 || f.had&(1<<i) != 0 {
		return ""
	}
	f.had |= 1 << i
	return f.names[i]
}

// having is the text of an object with those members alone whose names, as they are written, are wanted. It is
// nil if that is none of them, or if the text is no object or not valid.
func having(text []byte, wanted func(name []byte) bool) []byte {
	var s scanner
	if s.begin(text); s.peek() != '{' {
		return nil
	}
	kept := make([]byte, 0, len(text))
	s.enter()
	for name, more := s.member(true); more; name, more = s.member(false) {
		value := s.skip()
		if wanted(name) {
			kept = append(append(append(append(kept, `,"`...), name...), `":`...), value...)
		}
	}
	if s.end() != nil || len(kept) == 0 {
		return nil
	}
	kept[0] = '{'
	return append(kept, '}')
}

// plainText is what is between the quotes of a string, without escapes, as a text of its own.
func plainText(inner []byte) string {
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	return string(unescaped(inner))
}

// unescaped is the inside of a string without escapes, in bytes of its own if there are any.
func unescaped(inner []byte) []byte {
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return unescape(make([]byte, len(inner)), inner)
}

// plainEscapes are the letters behind a backslash that stand for one byte, with that byte.
var plainEscapes = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '/': '/', '"': '"'}

// unescape writes to out what the inside of a string stands for, which is never longer, and
// returns that part of it. out may be inner itself, which is read before it is written over. Halves
// of surrogate pairs without the other half become U+FFFD.
func unescape(out, inner []byte) []byte {
	from, to := 0, 0
	for from+8 <= len(inner) {
		w := binary.LittleEndian.Uint64(inner[from:])
		slash := w ^ '\\'*everyByte
		found := (slash - everyByte) & ^slash & highBits // the lowest bit that is set is right
		n := bits.TrailingZeros64(found) / 8             // of eight if none is set
		if n == 8 || from-to >= 8 {
			// What is written behind those that count is not read any more, or written anew.
			binary.LittleEndian.PutUint64(out[to:], w)
		} else {
			copy(out[to:], inner[from:from+n])
		}
		if from, to = from+n, to+n; n < 8 {
			from, to = unescapeOne(out, inner, from, to)
		}
	}
	for from < len(inner) {
		if c := inner[from]; c != '\\' {
			out[to] = c
			from, to = from+1, to+1
			continue
		}
		from, to = unescapeOne(out, inner, from, to)
	}
	return out[:to]
}

// unescapeOne writes what an escape stands for, and returns what is behind both.
func unescapeOne(out, inner []byte, from, to int) (int, int) {
	c := inner[from+1]
	if from += 2; c != 'u' {
		out[to] = plainEscapes[c]
		return from, to + 1
	}
	r := fourDigits(inner[from:])
	if from += 4; utf16.IsSurrogate(r) {
		low := rune(unicode.ReplacementChar)
		if rest := inner[from:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			low = fourDigits(rest[2:])
		}
		if r = utf16.DecodeRune(r, low); r != unicode.ReplacementChar {
			from += 6
		}
	}
	return from, len(utf8.AppendRune(out[:to], r))
}

func fourDigits(text []byte) rune {
	var r rune
	for _, c := range text[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}

// hexDigit is the value of a hexadecimal digit, -1 for what is none.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
