package delta

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// step returns the index of the value that the segment selects within the value at data[at:], -1 if there is
// none.
func (s segment) step(data []byte, at int) int {
	if at < len(data) && data[at] == '[' {
		return element(data, at, s.index)
	}
	return member(data, at, s.name)
}

// element returns the index of an element of the list at data[at:], -1 if there is none.
func element(data []byte, at, index int) int {
	if at = skipSpace(data, at+1); index < 0 || at >= len(data) || data[at] == ']' {
		return -1
	}
	for ; index > 0; index-- {
		if at = skipSpace(data, skipValue(data, at)); at >= len(data) || data[at] != ',' {
			return -1
		}
		at = skipSpace(data, at+1)
	}
	return at
}

// member returns the index of the first member with that name of the object at data[at:], -1 if it has none
// or is no object.
func member(data []byte, at int, name string) int {
	if at >= len(data) || data[at] != '{' {
		return -1
	}
	at = skipSpace(data, at+1)
	for at < len(data) && data[at] == '"' {
		end := skipString(data, at)
		key := data[at+1 : max(end-1, at+1)]
		if at = skipSpace(data, end); at >= len(data) || data[at] != ':' {
			return -1
		}
		at = skipSpace(data, at+1)
		if string(key) == name || len(key) > len(name) && equalEscaped(key, name) {
			return at
		}
		if at = skipSpace(data, skipValue(data, at)); at >= len(data) || data[at] != ',' {
			return -1
		}
		at = skipSpace(data, at+1)
	}
	return -1
}

// skipString returns the place after the string at data[at:], which is valid.
func skipString(data []byte, at int) int {
	var high uint64
	if end := endOfString(data, at+1, &high); end >= 0 {
		return end
	}
	return len(data)
}

// skipValue returns the place after the value at data[at:], which is valid.
func skipValue(data []byte, at int) int {
	depth := 0
	for at < len(data) {
		switch data[at] {
		case '"':
			at = skipString(data, at)
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			if depth == 0 {
				// end of the enclosing value: this value was a number or a word
				return at
			}
			depth--
			at++
		default:
			if depth == 0 {
				for at < len(data) && data[at] > ' ' && data[at] != ',' && data[at] != '}' && data[at] != ']' {
					at++
				}
				return at
			}
			at++
			continue
		}
		if depth == 0 {
			return at
		}
	}
	return at
}

// text returns the conflation value for the value at data[at:].
func text(data []byte, at int) string {
	if at >= len(data) {
		return ""
	}
	var value []byte
	switch c := data[at]; c {
	case '{', '[', 'n':
		return ""
	case '"':
		end := skipString(data, at)
		value = data[at+1 : max(end-1, at+1)]
		for _, c := range value {
			if c == '\\' {
				return unescape(value)
			}
		}
	default:
		value = data[at:skipValue(data, at)]
	}
	if len(value) == 0 || len(value) > MaxKey {
		return ""
	}
	return unsafe.String(&value[0], len(value))
}

// unescape returns the text of a string with escapes, empty if it is too long.
func unescape(raw []byte) string {
	out := make([]byte, 0, min(len(raw), MaxKey+utf8.UTFMax))
	for i := 0; i < len(raw) && len(out) <= MaxKey; {
		var r rune
		if r, i = nextRune(raw, i); r < 0 {
			out = append(out, raw[i-1])
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	if len(out) > MaxKey {
		return ""
	}
	return string(out)
}

// equalEscaped reports whether the text of a string with escapes equals name.
func equalEscaped(raw []byte, name string) bool {
	var buf [utf8.UTFMax]byte
	for i := 0; i < len(raw); {
		var r rune
		part := buf[:1]
		if r, i = nextRune(raw, i); r < 0 {
			part[0] = raw[i-1]
		} else {
			part = utf8.AppendRune(buf[:0], r)
		}
		if len(name) < len(part) || name[:len(part)] != string(part) {
			return false
		}
		name = name[len(part):]
	}
	return name == ""
}

// nextRune decodes the escape at raw[i:] and returns its rune and the index after it. For an unescaped byte
// the rune is negative. Unpaired surrogates become U+FFFD, as in encoding/json.
func nextRune(raw []byte, i int) (rune, int) {
	if raw[i] != '\\' || i+1 >= len(raw) {
		return -1, i + 1
	}
	switch c := raw[i+1]; c {
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	case 'u':
		r, _ := hex4(raw, i+2)
		i = min(i+6, len(raw))
		if !utf16.IsSurrogate(r) {
			return r, i
		}
		if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
			second, _ := hex4(raw, i+2)
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				return pair, i + 6
			}
		}
		return utf8.RuneError, i
	default:
		return rune(c), i + 2
	}
}
