package rest

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// scanner takes a JSON text apart in one pass and in the order in which it is written, without
// reflection and without copies: what it returns are views of the text. It is for texts that
// are known to be UTF-8, and says of others what encoding/json says: the words about what
// breaks the grammar are the same, and those about values of a wrong type are of [pusher.Mistake].
//
// Who uses it asks for what should come next. After the first break of the grammar there is
// nothing left to read, so loops end by themselves and only who began looks at wrong.
type scanner struct {
	text []byte
	at   int
	// nest are the brackets that are open; room is what it begins with.
	nest []byte
	room [16]byte
	// wrong is the first break of the grammar.
	wrong error
	// mistaken is the first value of a wrong type. Reading goes on behind it, since a break
	// of the grammar is worse. final is one after which nothing more is looked at.
	mistaken, final error
	// within is the path to the members of what is being read.
	within string
	// measured is the member of which all numbers must be within the range of a float64.
	measured string
	// limits are those of the app that sends an event or a batch.
	limits *app.Limits
}

// maxNesting is how many brackets may be open.
const maxNesting = 10_000

func (s *scanner) begin(text []byte) {
	s.text = text
	s.nest = s.room[:0]
}

// end expects nothing more, and returns what is worst.
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

// fail notes a break of the grammar. Nothing is read after it.
func (s *scanner) fail(err error) {
	if s.wrong == nil {
		s.wrong = err
	}
	s.text, s.at, s.nest = nil, 0, s.room[:0]
}

var errEnd = errors.New("unexpected end of JSON input")

// invalid says that what is next may not be there. Behind the end there is a space, which ends
// what may be ended.
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

// peek is the next byte that is no space, which stays there. It is 0 at the end, which is an
// error.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; !isSpace(c) {
			return c
		}
	}
	s.fail(errEnd)
	return 0
}

// enter goes into the object or array that is next.
func (s *scanner) enter() {
	if len(s.nest) == maxNesting {
		s.invalid("exceeded max depth")
		return
	}
	s.nest = append(s.nest, s.text[s.at])
	s.at++
}

// leave goes out of what was entered last.
func (s *scanner) leave() {
	s.nest = s.nest[:len(s.nest)-1]
	s.at++
}

// member goes to the value of the next member of an object, first of all to that of the first
// one. It returns the name as it is written, and false behind the last member.
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

// element goes to the next element of an array. It returns false behind the last one.
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

// quoted reads the string that is next and returns what is between its quotes.
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

// escapes are the letters that may stand behind a backslash, but for the u.
var escapes = [256]bool{'b': true, 'f': true, 'n': true, 'r': true, 't': true, '\\': true, '/': true, '"': true}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// ordinary goes to the next byte of a string that is a quote, a control character or a backslash
// of which it is not sure that it may stand there. It looks at eight bytes at a time, which is
// several times as quick as one by one.
func (s *scanner) ordinary() {
	text, i := s.text, s.at
	for i+8 <= len(text) {
		w := binary.LittleEndian.Uint64(text[i:])
		quote, slash := w^'"'*everyByte, w^'\\'*everyByte
		// The lowest bit that is set is right; those above may be false, by a borrow.
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

// escape reads what is behind a backslash.
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

// skip reads the value that is next, whatever it is, and returns it as it is written. It is no
// recursion, so that brackets cost a byte and not a frame of the stack.
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

// scalar reads the string, number, boolean or null that is next.
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

// word reads true, false or null, of which the first letter is there.
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

// number reads a number, of which the first character is there.
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
