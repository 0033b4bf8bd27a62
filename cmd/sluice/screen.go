package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// screen writes untrusted text to a terminal: characters that control the terminal or change the order of the
// text are written as \u001b, which is also valid in JSON. Line breaks and tabs stay.
type screen struct{ io.Writer }

// shown wraps an output that is a terminal. Others, such as files and pipes, get every byte unchanged.
func shown(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return screen{w}
		}
	}
	return w
}

// printed is the output of a command. It keeps the first write error, so that a command whose output could not
// be written does not end with success.
type printed struct {
	io.Writer
	mu     sync.Mutex
	failed error
}

// Write implements [io.Writer].
func (o *printed) Write(text []byte) (int, error) {
	n, err := o.Writer.Write(text)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.failed == nil {
			o.failed = err
		}
	}
	return n, err
}

func (o *printed) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// terminalOf returns the terminal of an output, if it is one.
func terminalOf(w io.Writer) (screen, bool) {
	if o, ok := w.(*printed); ok {
		w = o.Writer
	}
	s, ok := w.(screen)
	return s, ok
}

func (s screen) Write(text []byte) (int, error) {
	if _, err := s.Writer.Write(visible(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

func visible(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, text[0])
		case harmless(r) || r == '\n' || r == '\t':
			out = append(out, text[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[n:]
	}
	return out
}

// harmless reports whether a terminal only displays a character. Joiners are harmless, and part of many emoji.
func harmless(r rune) bool {
	return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || r == '\u200c' || r == '\u200d'
}
