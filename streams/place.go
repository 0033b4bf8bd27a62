package streams

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The server does not look at the header block of a publisher. It takes the last two
// bytes off, whatever they are, and puts its own lines and an empty one behind. The
// client library reads a block from its beginning to the first empty line. So a
// publisher can hide the lines of the server behind an empty line of his own, with
// others that he made up before it, or have the library read no block at all. He cannot
// take anything away or write behind the server. What the server says is believed if
// its lines cannot be among the bytes that the library did not show; otherwise the
// message is read again in a form that nobody but the server writes.

// place is where the log put a message, by the headers that the server adds.
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
	// serverLines is the least that the lines of the server take: names, separators and
	// line ends of the four that it always writes, one digit, and a time without a
	// fraction. Stream and subject come on top.
	serverLines = len("Nats-Stream: \r\nNats-Subject: \r\nNats-Sequence: 0\r\nNats-Time-Stamp: 2006-01-02T15:04:05Z\r\n")
	// statusLine is how much more the two headers that the library makes of a status may
	// seem to take than the line does.
	statusLine = 16
)

// hidden is how many bytes of a header block, at most, are not in the headers that the
// library made of it. A line of an ordinary publisher accounts for two of them. glued says
// that the first line of the server seems to have become the end of another one, which has
// no end of its own.
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
	// errHidden says that a message must be read in another way.
	errHidden = errors.New("the headers of the server cannot be seen")
	// errPlaceless says that the server did not write a message.
	errPlaceless = errors.New("no place in the log")
)

// placeOf reads where the log has a message that was republished, or fetched directly,
// from the headers of the server. The subject is empty if it is not known. An answer for a
// single message does not tell what precedes or follows it. An error is errHidden or
// errPlaceless.
func placeOf(m *nats.Msg, stream, subject string) (place, error) {
	if len(m.Data) == 0 && m.Header[nats.MsgSize] != nil {
		// Somebody may have edited the stream so that it repeats headers alone.
		return place{}, errHidden
	}
	return placeIn(m.Header, m.Size()-len(m.Subject)-len(m.Reply)-len(m.Data), stream, subject)
}

// placeIn is placeOf for the headers that the library made of a block of a size.
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
	// The first line of the server may have become the end of a publisher's last one.
	if errs != [4]error{} || p.prev >= p.offset || p.stream != stream || subject != "" && p.subject != subject {
		return place{}, errHidden
	}
	return p, nil
}

// number reads a number that the server does not always write.
func number(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}
