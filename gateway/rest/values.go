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

// other reads a value of a type that the member should not have. null stands for no value and is not an error;
// other then returns true.
func (s *scanner) other(member, want string) (null bool) {
	if null = s.peek() == 'n'; !null {
		s.mistake(kindOf(s.peek()), member, want)
	}
	s.skip()
	return null
}

// kindOf returns the JSON type of the value that begins with c.
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

// string reads a string. null leaves into unchanged.
func (s *scanner) string(into *string, member string) {
	if s.peek() != '"' {
		s.other(member, pusher.WantText)
		return
	}
	*into = plainText(s.quoted())
}

// maybeString reads an optional string. null sets it to nil.
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

// maybeBool reads an optional boolean. null sets it to nil.
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

// wholeNumber reads a number that fits a type. It reports whether the value is not null.
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

// grown returns list with room for element i. It keeps the old content of that element: a repeated member is
// read over its earlier value.
func grown[T any](list []T, i int) []T {
	if i >= cap(list) {
		var none T
		return append(list[:i], none)
	}
	return list[:max(len(list), i+1)]
}

// fieldOf returns the index in names of a member's name, which is still escaped; -1 if it is not among them.
// Case is ignored.
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

// fields are the known names of an object, and a set of those that were read: of members with the same name the
// first counts, as it does for clients.
type fields struct {
	names []string
	had   uint32
}

// of returns the known name for an escaped member name, "" if it is unknown or was read before.
func (f *fields) of(written []byte) string {
	i := fieldOf(written, f.names)
	if i < 0 || f.had&(1<<i) != 0 {
		return ""
	}
	f.had |= 1 << i
	return f.names[i]
}

// having returns the text of an object with only the members whose escaped name is wanted. It returns nil if
// there are none, or if the text is not a valid object.
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

// plainText decodes the content of a string into a new string.
func plainText(inner []byte) string {
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	return string(unescaped(inner))
}

// unescaped decodes the content of a string, into new memory if it has escapes.
func unescaped(inner []byte) []byte {
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return unescape(make([]byte, len(inner)), inner)
}

// plainEscapes are the escapes of one byte, except u.
var plainEscapes = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '/': '/', '"': '"'}

// unescape decodes the content of a string into out and returns the used part, which is never longer than inner.
// out may be inner itself. Unpaired surrogates become U+FFFD.
func unescape(out, inner []byte) []byte {
	from, to := 0, 0
	for from+8 <= len(inner) {
		w := binary.LittleEndian.Uint64(inner[from:])
		slash := w ^ '\\'*everyByte
		found := (slash - everyByte) & ^slash & highBits // the lowest set bit is right
		n := bits.TrailingZeros64(found) / 8             // 8 if none is set
		if n == 8 || from-to >= 8 {
			// The bytes written after the valid ones are not read any more, or overwritten later.
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

// unescapeOne decodes one escape, and returns the indexes after it.
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

// hexDigit returns the value of a hexadecimal digit, -1 for any other byte.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
