package load

import (
	"bytes"
	"strconv"
	"time"
)

// marker identifies messages of a run and contains when they were due. It has no character that JSON escapes, so
// it is found in a frame whatever the order of the members.
type marker struct{ run string }

// find returns the channel of a message and when it was due. ok is false for other frames.
func (m marker) find(frame []byte) (channel int, due time.Duration, ok bool) {
	at := bytes.Index(frame, []byte(m.run))
	if at < 0 {
		return 0, 0, false
	}
	rest := frame[at+len(m.run):]
	number := func() (n int64) {
		for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
			n = n*10 + int64(rest[0]-'0')
			rest = rest[1:]
		}
		ok = len(rest) > 0 && rest[0] == ':'
		if ok {
			rest = rest[1:]
		}
		return n
	}
	if channel = int(number()); !ok {
		return 0, 0, false
	}
	due = time.Duration(number())
	return channel, due, ok
}

// data returns the data of a message with size bytes, or more if the marker needs them.
func (m marker) data(channel int, due time.Duration, size int) string {
	b := make([]byte, 0, max(size, 64))
	b = append(b, m.run...)
	b = strconv.AppendInt(b, int64(channel), 10)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(due), 10)
	b = append(b, ':')
	for i := len(b); i < size; i++ {
		b = append(b, letters[(i*7+int(due))&63])
	}
	return string(b)
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
