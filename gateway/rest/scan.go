package rest

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// scanner parses a JSON text in one pass, without reflection and without copies: what it returns are slices of
// the text. The text must be valid UTF-8. Syntax errors have the words of encoding/json, and errors about values
// of a wrong type are those of [pusher.Mistake].
//
// The caller asks for what should come next. After the first syntax error the rest of the text is dropped, so
// loops end by themselves, and only the caller that began needs to check the error with end.
type scanner struct {
	text []byte
	at   int
	// nest are the open brackets; room is its initial memory.
	nest []byte
	room [16]byte
	// wrong is the first syntax error.
	wrong error
	// mistaken is the first value of a wrong type. Parsing continues after it, because a syntax error has
	// precedence. final is such an error that has precedence over mistaken.
	mistaken, final error
	// within is the path to the members that are being read, for error texts.
	within string
	// measured is the name of the member whose numbers must all fit into a float64; empty for none.
	measured string
	// limits are those of the app of the event or batch.
	limits *app.Limits
}

// maxNesting is the maximum depth of brackets.
const maxNesting = 10_000

func (s *scanner) begin(text []byte) {
	s.text = text
	s.nest = s.room[:0]
}

// end expects the end of the text, and returns the gravest error.
func (s *scanner) end() error {
	for s.wrong == nil && s.at < len(s.text) {
		if !isSpace(s.text[s.at]) {
			s.invalid("after top-level value")
			break
		}
		s.at++
	}
	switch {
	case s.wrong != nil:
		return s.wrong
	case s.final != nil:
		return s.final
	}
	return s.mistaken
}

// fail notes a syntax error and drops the rest of the text.
func (s *scanner) fail(err error) {
	if s.wrong == nil {
		s.wrong = err
	}
	s.text, s.at, s.nest = nil, 0, s.room[:0]
}

var errEnd = errors.New("unexpected end of JSON input")

// invalid notes that the next character is not allowed. The end of the text counts as a space.
func (s *scanner) invalid(context string) {
	c := byte(' ')
	if s.at < len(s.text) {
		c = s.text[s.at]
	}
	quoted := "'\"'"
	switch c {
	case '"':
	case '\'':
		quoted = `'\''`
	default:
		text := strconv.Quote(string(rune(c)))
		quoted = "'" + text[1:len(text)-1] + "'"
	}
	s.fail(errors.New("invalid character " + quoted + " " + context))
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// peek returns the next byte that is not a space, without consuming it; 0 at the end, which is an error.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; !isSpace(c) {
			return c
		}
	}
	s.fail(errEnd)
	return 0
}

// enter enters the object or array that is next.
func (s *scanner) enter() {
	if len(s.nest) == maxNesting {
		s.invalid("exceeded max depth")
		return
	}
	s.nest = append(s.nest, s.text[s.at])
	s.at++
}

// leave leaves the innermost object or array.
func (s *scanner) leave() {
	s.nest = s.nest[:len(s.nest)-1]
	s.at++
}

// member moves to the value of the next member of an object; first is true for the first one. It returns the
// name, still escaped, and false after the last member.
func (s *scanner) member(first bool) (name []byte, more bool) {
	c := s.peek()
	switch {
	case c == '}':
		s.leave()
		return nil, false
	case first:
	case c == ',':
		s.at++
		c = s.peek()
	default:
		s.invalid("after object key:value pair")
		return nil, false
	}
	if c != '"' {
		s.invalid("looking for beginning of object key string")
		return nil, false
	}
	name = s.quoted()
	if s.peek() != ':' {
		s.invalid("after object key")
		return nil, false
	}
	s.at++
	return name, true
}

// element moves to the next element of an array. It returns false after the last one.
func (s *scanner) element(first bool) bool {
	c := s.peek()
	switch {
	case c == ']':
		s.leave()
		return false
	case first:
	case c == ',':
		s.at++
	default:
		s.invalid("after array element")
		return false
	}
	return s.wrong == nil
}

// quoted reads a string and returns the bytes between its quotes, still escaped.
func (s *scanner) quoted() []byte {
	s.at++
	start := s.at
	for {
		s.ordinary()
		if s.at >= len(s.text) {
			s.fail(errEnd)
			return nil
		}
		switch s.text[s.at] {
		case '"':
			inner := s.text[start:s.at:s.at]
			s.at++
			return inner
		case '\\':
			s.at++
			s.escape()
		default:
			s.invalid("in string literal")
			return nil
		}
	}
}

// escapes are the letters that may follow a backslash, except u.
var escapes = [256]bool{'b': true, 'f': true, 'n': true, 'r': true, 't': true, '\\': true, '/': true, '"': true}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// ordinary skips to the next byte of a string that is a quote, a control character, or a backslash whose escape
// must still be checked. It looks at eight bytes at a time, which is several times as fast as one by one.
func (s *scanner) ordinary() {
	text, i := s.text, s.at
	for i+8 <= len(text) {
		w := binary.LittleEndian.Uint64(text[i:])
		quote, slash := w^'"'*everyByte, w^'\\'*everyByte
		// The lowest set bit is right; higher ones may be wrong because of a borrow.
		found := ((w - 0x20*everyByte) & ^w) | ((quote - everyByte) & ^quote) | ((slash - everyByte) & ^slash)
		if found &= highBits; found == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(found) / 8
		if text[i] != '\\' || i+1 >= len(text) || !escapes[text[i+1]] {
			s.at = i
			return
		}
		i += 2
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	s.at = i
}

// escape reads the rest of an escape after its backslash.
func (s *scanner) escape() {
	if s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case escapes[c]:
			s.at++
			return
		case c == 'u':
			s.at++
			for range 4 {
				if s.at >= len(s.text) || hexDigit(s.text[s.at]) < 0 {
					s.invalid("in \\u hexadecimal character escape")
					return
				}
				s.at++
			}
			return
		}
	}
	s.invalid("in string escape code")
}

// skip reads any value and returns its text. It does not recurse, so that nesting costs a byte and not a stack
// frame.
func (s *scanner) skip() []byte {
	s.peek()
	start, outside := s.at, len(s.nest)
	for s.wrong == nil {
		more := false
		switch s.peek() {
		case '{':
			s.enter()
			_, more = s.member(true)
		case '[':
			s.enter()
			more = s.element(true)
		default:
			s.scalar()
		}
		for !more && len(s.nest) > outside {
			if s.nest[len(s.nest)-1] == '{' {
				_, more = s.member(false)
			} else {
				more = s.element(false)
			}
		}
		if !more {
			break
		}
	}
	if s.wrong != nil {
		return nil
	}
	return s.text[start:s.at:s.at]
}

// scalar reads a string, number, boolean or null.
func (s *scanner) scalar() {
	switch c := s.peek(); c {
	case '"':
		s.quoted()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		if c != '-' && (c < '0' || c > '9') {
			s.invalid("looking for beginning of value")
			return
		}
		start := s.at
		s.number()
		if s.measured != "" && s.wrong == nil && s.mistaken == nil {
			if _, err := strconv.ParseFloat(string(s.text[start:s.at]), 64); err != nil {
				s.mistake("number "+string(s.text[start:s.at]), s.measured, pusher.WantNumber)
			}
		}
	}
}

// word reads the rest of true, false or null after its first letter.
func (s *scanner) word(w string) {
	for i := 1; i < len(w); i++ {
		s.at++
		if s.at >= len(s.text) || s.text[s.at] != w[i] {
			s.invalid("in literal " + w + " (expecting '" + w[i:i+1] + "')")
			return
		}
	}
	s.at++
}

// number reads a number, whose first character is next.
func (s *scanner) number() {
	if s.text[s.at] == '-' {
		s.at++
		if !s.digit() {
			s.invalid("in numeric literal")
			return
		}
	}
	if s.text[s.at] == '0' {
		s.at++
	} else {
		s.digits()
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if !s.digit() {
			s.invalid("after decimal point in numeric literal")
			return
		}
		s.digits()
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'e' {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if !s.digit() {
			s.invalid("in exponent of numeric literal")
			return
		}
		s.digits()
	}
}

func (s *scanner) digit() bool {
	return s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'
}

func (s *scanner) digits() {
	for s.digit() {
		s.at++
	}
}
