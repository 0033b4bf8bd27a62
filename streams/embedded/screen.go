package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	// maxLine is the longest line that a client may send, with its end. The server takes
	// half of it.
	maxLine = 8192
	// leastHeader is the length of the line end that the server takes off a header block,
	// without looking whether the block has one. A block of one byte ends the process.
	leastHeader = len("\r\n")
	// maxHeader is the largest header block: what an event may have beyond its data.
	maxHeader = 64 << 10
	// maxID is the longest id of a message. The server remembers all ids of two minutes, each in
	// as much memory as it is long, and bounds neither their number nor their length.
	maxID = 256
)

// screen passes on what a client sends to the server, message by message. It stops at a
// message that would end the server, and at whatever the server and it might read in
// different ways. The form is that of the NATS client protocol.
type screen struct {
	from       *bufio.Reader
	to         *bufio.Writer
	maxPayload int64
	// reserved are subjects that nobody may ask to be answered on, as patterns that end
	// with `>`: the log answers with the rights of the server, which may write there.
	reserved []string
	// header is the size of the header block of the message that follows, 0 for none.
	header int64
}

func newScreen(from io.Reader, to io.Writer, maxPayload int64, reserved []string) *screen {
	return &screen{from: bufio.NewReaderSize(from, maxLine), to: bufio.NewWriterSize(to, maxLine), maxPayload: maxPayload, reserved: reserved}
}

// run goes on until the client hangs up, the server does, or the server must not read on.
// An error is for the client; there is none if nobody is left to hear it.
func (s *screen) run() error {
	for {
		line, err := s.from.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return errors.New("maximum control line exceeded")
		}
		if err != nil {
			return nil
		}
		size, err := s.payload(line)
		if err != nil {
			return err
		}
		if _, err := s.to.Write(line); err != nil {
			return nil
		}
		if size > s.maxPayload {
			// The server says what is wrong, and hangs up.
			_ = s.to.Flush()
			_, _ = io.Copy(io.Discard, s.from)
			return nil
		}
		if size >= 0 {
			if err := s.block(); err != nil {
				return err
			}
			if !s.message(size - s.header) {
				return nil
			}
		}
		// More may follow at once, and is written together with it.
		if s.from.Buffered() == 0 && s.to.Flush() != nil {
			return nil
		}
	}
}

// block passes on the header block of a message if the server may have it.
func (s *screen) block() error {
	if s.header == 0 {
		return nil
	}
	var block []byte
	var err error
	if s.header <= maxLine {
		block, err = s.from.Peek(int(s.header))
		defer func() { _, _ = s.from.Discard(len(block)) }()
	} else {
		block = make([]byte, s.header)
		_, err = io.ReadFull(s.from, block)
	}
	if err != nil {
		return nil // the client hung up, and the rest of the message will not come either
	}
	if n := longestID(block); n > maxID {
		return fmt.Errorf("Nats-Msg-Id has %d bytes, the limit is %d", n, maxID)
	}
	_, _ = s.to.Write(block) // an error comes again with the message
	return nil
}

// longestID is the length of the longest id in a header block, however odd the block is: the
// server looks for the name alone.
func longestID(block []byte) (longest int) {
	for {
		_, rest, found := bytes.Cut(block, []byte("Nats-Msg-Id:"))
		if !found {
			return longest
		}
		value, _, _ := bytes.Cut(rest, []byte("\r\n"))
		longest = max(longest, len(bytes.TrimSpace(value)))
		block = rest
	}
}

// message passes on a message with its line end.
func (s *screen) message(size int64) bool {
	_, err := io.CopyN(s.to, s.from, size)
	if err != nil {
		return false
	}
	var end [2]byte
	if _, err = io.ReadFull(s.from, end[:]); err != nil {
		return false
	}
	if _, err = s.to.Write(end[:]); err != nil {
		return false
	}
	if string(end[:]) != "\r\n" {
		// The server finds that as well, and hangs up.
		_ = s.to.Flush()
		return false
	}
	return true
}

// payload is the length of the message that follows on a line, -1 if none does.
func (s *screen) payload(line []byte) (int64, error) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	// The server takes a return in the middle of a line for the one at its end.
	if bytes.IndexByte(line, '\r') >= 0 {
		return 0, errors.New("a line has a carriage return in its middle")
	}
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 || line[0] == ' ' || line[0] == '\t' {
		return 0, errors.New("unknown protocol operation")
	}
	switch op := strings.ToUpper(string(words[0])); op {
	case "CONNECT", "SUB", "UNSUB", "PING", "PONG", "INFO", "+OK", "-ERR":
		return -1, nil
	case "PUB", "HPUB":
		return s.published(op, words[1:])
	}
	return 0, errors.New("unknown protocol operation")
}

// published is the length of a message by the words behind the operation: subject, perhaps
// a reply subject, with headers their length, and the length of all.
func (s *screen) published(op string, words [][]byte) (int64, error) {
	least := 2
	if op == "HPUB" {
		least = 3
	}
	if len(words) != least && len(words) != least+1 {
		return 0, fmt.Errorf("%s takes %d or %d words", op, least, least+1)
	}
	if len(words) > least {
		reply := string(words[1])
		for _, pattern := range s.reserved {
			if strings.HasPrefix(reply, strings.TrimSuffix(pattern, ">")) {
				return 0, fmt.Errorf("an answer on %.100q is not for clients", reply)
			}
		}
	}
	s.header = 0
	size, ok := number(words[len(words)-1])
	if !ok {
		return 0, errors.New("the size of a message is not a number of bytes")
	}
	if op == "PUB" {
		return size, nil
	}
	header, ok := number(words[len(words)-2])
	switch {
	case !ok || header > size:
		return 0, errors.New("the size of a header block is not a number of bytes of its message")
	case header > 0 && header < int64(leastHeader):
		return 0, fmt.Errorf("a header block of %d byte cannot have the line end of %d", header, leastHeader)
	case header > maxHeader:
		return 0, fmt.Errorf("a header block has %d bytes, the limit is %d", header, maxHeader)
	}
	s.header = header
	return size, nil
}

// number reads digits and nothing else, as the server does.
func number(word []byte) (int64, bool) {
	var n int64
	for _, b := range word {
		if b < '0' || b > '9' || n > math.MaxInt32 {
			return 0, false
		}
		n = 10*n + int64(b-'0')
	}
	return n, len(word) > 0
}
