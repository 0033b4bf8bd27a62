package streams

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The server does not parse the header block of a publisher. It removes the last two bytes, whatever they are, and
// appends its own lines and an empty one. The client library parses a block from its beginning to the first empty line.
// So a publisher can hide the lines of the server behind an empty line of its own, with forged lines before it, or make
// the library parse no block at all. It cannot remove anything or write after the server. Therefore the headers of the
// server are trusted only if its lines cannot be among the bytes that the library did not parse. Otherwise the message
// is read again in a form that only the server writes.

// place is the position of a message in the log, from the headers that the server adds.
type place struct {
	stream, subject string
	offset, prev    uint64
	time            time.Time
	pending         uint64
}

// last returns the last value of a header. The server appends its own headers to
// what a publisher sent, so the first one may be forged.
func last(h nats.Header, key string) string {
	v := h[key]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

const (
	// serverLines is the least size of the lines of the server, without stream and subject: the four lines that it
	// always writes, with one digit and a time without a fraction.
	serverLines = len("Nats-Stream: \r\nNats-Subject: \r\nNats-Sequence: 0\r\nNats-Time-Stamp: 2006-01-02T15:04:05Z\r\n")
	// statusLine is how much larger the two headers that the library makes of a status line may seem than the line is.
	statusLine = 16
)

// hidden returns how many bytes of a header block of the given size, at most, the library did not parse into h. Each
// ordinary line accounts for two of them. glued says that the first line of the server seems to have been appended to
// a line of the publisher that had no end.
func hidden(h nats.Header, size int, stream string) (bytes int, glued bool) {
	const first = nats.JSStream + ": "
	for key, values := range h {
		glued = glued || len(key) > len(nats.JSStream) && strings.HasSuffix(key, nats.JSStream)
		for _, v := range values {
			size -= len(key) + len(":") + len(v) + len("\n")
			glued = glued || len(v) > len(stream) && strings.HasSuffix(v, stream) && strings.HasSuffix(v[:len(v)-len(stream)], first)
		}
	}
	return size, glued
}

var (
	// errHidden says that the message must be read again in another way.
	errHidden = errors.New("the headers of the server cannot be seen")
	// errPlaceless says that the message does not come from the log.
	errPlaceless = errors.New("no place in the log")
)

// placeOf parses the place of a message that was republished or read with a direct get. subject is empty if it is not
// known. In an answer for a single message, prev and pending are 0. The error is errHidden or errPlaceless.
func placeOf(m *nats.Msg, stream, subject string) (place, error) {
	if len(m.Data) == 0 && m.Header[nats.MsgSize] != nil {
		// The stream may have been edited so that it republishes headers only.
		return place{}, errHidden
	}
	return placeIn(m.Header, m.Size()-len(m.Subject)-len(m.Reply)-len(m.Data), stream, subject)
}

// placeIn is placeOf for the headers that the library parsed from a block of the given size.
func placeIn(h nats.Header, size int, stream, subject string) (place, error) {
	if unseen, glued := hidden(h, size, stream); glued || unseen >= serverLines-statusLine+len(stream)+len(subject) {
		return place{}, errHidden
	}
	p := place{stream: last(h, nats.JSStream), subject: last(h, nats.JSSubject)}
	sequence := last(h, nats.JSSequence)
	if sequence == "" {
		return place{}, errPlaceless
	}
	var errs [4]error
	p.offset, errs[0] = strconv.ParseUint(sequence, 10, 64)
	p.prev, errs[1] = number(last(h, nats.JSLastSequence))
	p.pending, errs[2] = number(last(h, "Nats-Num-Pending"))
	p.time, errs[3] = time.Parse(time.RFC3339Nano, last(h, nats.JSTimeStamp))
	// The first line of the server may have been appended to the publisher's last one.
	if errs != [4]error{} || p.prev >= p.offset || p.stream != stream || subject != "" && p.subject != subject {
		return place{}, errHidden
	}
	return p, nil
}

// number parses a number that the server writes only if it is not 0.
func number(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}
