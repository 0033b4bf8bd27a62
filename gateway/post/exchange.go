package post

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// exchange is one request with its answer. It is allocated for each request, so that parts of it may be kept.
type exchange struct {
	conn    *conn
	request http.Request
	url     url.URL
	// left is how much of the body is unread, in bytes.
	left int64
	// limit is the deadline of the next read that has to wait; at first that of the whole body.
	limit time.Time

	header http.Header
	status int
	body   []byte
	// pushed is the deadline of the answer, zero for the usual time.
	pushed time.Time
}

// Read implements [io.Reader] for the body.
func (x *exchange) Read(p []byte) (int, error) {
	switch {
	case x.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if int64(len(p)) > x.left {
		p = p[:x.left]
	}
	c := x.conn
	n := copy(p, c.buffer[c.start:c.end])
	if c.start += n; n == 0 {
		// Only a read that may wait needs a deadline.
		c.readBy(x.limit)
		var err error
		if n, err = c.wire.Read(p); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			x.left -= int64(n)
			c.broken = true
			return n, err
		}
	}
	if x.left -= int64(n); x.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Close implements [io.Closer] for the body.
func (x *exchange) Close() error { return nil }

// SetReadDeadline implements the method for [http.ResponseController].
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.limit = t
	return nil
}

// SetWriteDeadline implements the method for [http.ResponseController].
func (x *exchange) SetWriteDeadline(t time.Time) error {
	x.pushed = t
	return nil
}

// Header implements [http.ResponseWriter].
func (x *exchange) Header() http.Header { return x.header }

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
}

// Write implements [http.ResponseWriter]. The answer is sent as a whole later.
func (x *exchange) Write(b []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	x.body = append(x.body, b...)
	return len(b), nil
}

// answer appends the whole answer. last adds "Connection: close".
func (x *exchange) answer(to []byte, now time.Time, last bool) []byte {
	x.WriteHeader(http.StatusOK)
	to = append(to, "HTTP/1.1 "...)
	to = strconv.AppendInt(to, int64(x.status), 10)
	to = append(to, ' ')
	to = append(to, http.StatusText(x.status)...)
	to = append(to, "\r\n"...)
	for name, values := range x.header {
		switch name {
		case "Date", "Content-Length", "Connection":
			continue
		}
		for _, value := range values {
			to = append(to, name...)
			to = append(to, ": "...)
			if strings.ContainsAny(value, "\r\n") {
				value = oneLine.Replace(value)
			}
			to = append(to, value...)
			to = append(to, "\r\n"...)
		}
	}
	to = append(to, "Date: "...)
	to = append(to, date(now)...)
	to = append(to, "\r\nContent-Length: "...)
	to = strconv.AppendInt(to, int64(len(x.body)), 10)
	if last {
		to = append(to, "\r\nConnection: close"...)
	}
	to = append(to, "\r\n\r\n"...)
	return append(to, x.body...)
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// dated is the text of the header Date in one second.
type dated struct {
	second int64
	text   string
}

var today atomic.Pointer[dated]

// date returns the value of the header Date. It is formatted once a second.
func date(now time.Time) string {
	d := today.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		today.Store(d)
	}
	return d.text
}
