package post

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oddities are beginnings of connections that end by themselves, or with a request that asks for it.
func oddities() map[string]string {
	last := request("/apps/last", "last", "Connection: close")
	head := func(fields ...string) string {
		return "POST /apps/1 HTTP/1.1\r\n" + strings.Join(append(fields, "", ""), "\r\n")
	}
	chunks := "3\r\nabc\r\n0\r\n\r\n"
	all := map[string]string{
		"no length":                        head("Host: a") + last,
		"no length, a get behind":          head("Host: a") + "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"no host":                          head("Content-Length: 3") + "abc" + last,
		"no host, a request as the body":   head(fmt.Sprintf("Content-Length: %d", len(last))) + last,
		"no host, no length":               head("X: y") + last,
		"two hosts":                        head("Host: a", "Host: b", "Content-Length: 3") + "abc" + last,
		"an empty host":                    head("Host:", "Content-Length: 3") + "abc" + last,
		"two lengths that agree":           head("Host: a", "Content-Length: 3", "Content-Length: 3") + "abc" + last,
		"two lengths that do not":          head("Host: a", "Content-Length: 3", "Content-Length: 4") + "abc" + last,
		"a list of lengths":                head("Host: a", "Content-Length: 3, 3") + "abc" + last,
		"a length with a sign":             head("Host: a", "Content-Length: +3") + "abc" + last,
		"a negative length":                head("Host: a", "Content-Length: -3") + "abc" + last,
		"a length that is too large":       head("Host: a", "Content-Length: 99999999999999999999") + "abc" + last,
		"an empty length":                  head("Host: a", "Content-Length:") + last,
		"a length with zeros before it":    head("Host: a", "Content-Length: 003") + "abc" + last,
		"chunks":                           head("Host: a", "Transfer-Encoding: chunked") + chunks + last,
		"chunks and a length":              head("Host: a", "Content-Length: 3", "Transfer-Encoding: chunked") + chunks + last,
		"a length and chunks":              head("Host: a", "Transfer-Encoding: chunked", "Content-Length: 100") + chunks + last,
		"chunks twice":                     head("Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + chunks + last,
		"another encoding":                 head("Host: a", "Transfer-Encoding: identity", "Content-Length: 3") + "abc" + last,
		"broken chunks":                    head("Host: a", "Transfer-Encoding: chunked") + "zz\r\n" + last,
		"a folded line":                    head("Host: a", "X: a", " b", "Content-Length: 3") + "abc" + last,
		"a folded length":                  head("Host: a", "Content-Length:", " 3") + "abc" + last,
		"line feeds alone":                 strings.ReplaceAll(head("Host: a", "Content-Length: 3"), "\r\n", "\n") + "abc" + last,
		"a carriage return alone":          head("Host: a", "X: a\rY: b", "Content-Length: 3") + "abc" + last,
		"a zero byte":                      head("Host: a", "X: \x00", "Content-Length: 3") + "abc" + last,
		"no colon":                         head("Host: a", "X", "Content-Length: 3") + "abc" + last,
		"a space before the colon":         head("Host: a", "Content-Length : 3") + "abc" + last,
		"what is not ASCII":                head("Host: a", "X: é", "Content-Length: 3") + "abc" + last,
		"HTTP/1.0":                         strings.Replace(request("/apps/1", "abc"), "1.1", "1.0", 1),
		"HTTP/1.0 that is kept":            strings.Replace(request("/apps/1", "abc", "Connection: keep-alive"), "1.1", "1.0", 1) + last,
		"HTTP/2.0":                         strings.Replace(request("/apps/1", "abc"), "1.1", "2.0", 1) + last,
		"an absolute target":               strings.Replace(request("/apps/1", "abc"), "/apps", "http://b/apps", 1) + last,
		"a target that is no path":         strings.Replace(request("/apps/1", "abc"), "/apps/1", "*", 1) + last,
		"a target with a bad escape":       strings.Replace(request("/apps/1", "abc"), "/apps/1", "/apps/%zz", 1) + last,
		"two slashes":                      request("//apps/1", "abc") + last,
		"two spaces":                       strings.Replace(request("/apps/1", "abc"), " HTTP", "  HTTP", 1) + last,
		"a method in lower case":           strings.Replace(request("/apps/1", "abc"), "POST", "post", 1) + last,
		"an empty line before the first":   "\r\n" + last,
		"an empty line between":            request("/apps/1", "abc") + "\r\n" + last,
		"two empty lines between":          request("/apps/1", "abc") + "\r\n\r\n" + last,
		"line feeds between":               request("/apps/1", "abc") + "\n\n" + last,
		"more empty lines between":         request("/apps/1", "abc") + "\r\n\r\n\r\n" + last,
		"empty lines before another kind":  request("/apps/1", "abc") + "\r\n" + "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"garbage between":                  request("/apps/1", "abc") + "abc\r\n\r\n" + last,
		"a question before the body":       head("Host: a", "Expect: 100-continue", "Content-Length: 3") + "abc" + last,
		"another expectation":              head("Host: a", "Expect: x", "Content-Length: 3") + "abc" + last,
		"an upgrade that nobody makes":     head("Host: a", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3") + "abc" + last,
		"close among others":               head("Host: a", "Connection: x, close", "Content-Length: 3") + "abc" + last,
		"a trailer":                        head("Host: a", "Transfer-Encoding: chunked", "Trailer: X") + "3\r\nabc\r\n0\r\nX: y\r\n\r\n" + last,
		"the last one with more behind it": last + request("/apps/2", "two"),
	}
	return all
}

// TestWayIn03NobodyElseReadsARequestOtherwise sends the same bytes to a house and to a net/http server: both
// see the same requests and give the same responses.
func TestWayIn03NobodyElseReadsARequestOtherwise(t *testing.T) {
	for about, text := range oddities() {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			h := open(t, nil)
			want := conversation(t, library(t, h.serve), text, len(text))
			if got := conversation(t, h.front.Addr().String(), text, len(text)); got != want {
				t.Errorf("all at once (-library +ours)\n%s", cmp.Diff(want, got))
			}
			if got := conversation(t, h.front.Addr().String(), text, 7); got != want {
				t.Errorf("in pieces (-library +ours)\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// library returns the address of a net/http server.
func library(t *testing.T, serve http.HandlerFunc) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: serve, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return l.Addr().String()
}

var changing = regexp.MustCompile(`(?m)^(Date|Content-Type|Content-Length): .*\r\n`)

// conversation sends a text in pieces, and returns the responses up to the end of the connection.
func conversation(t *testing.T, address, text string, piece int) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	// A client that is refused early loses the response unless it reads at once.
	answer := make(chan string)
	go func() {
		all, err := io.ReadAll(c)
		if err != nil && len(all) == 0 {
			t.Errorf("no answer: %v", err)
		}
		answer <- changing.ReplaceAllString(string(all), "")
	}()
	for len(text) > 0 {
		n := min(piece, len(text))
		if _, err := io.WriteString(c, text[:n]); err != nil {
			break
		}
		text = text[n:]
	}
	return <-answer
}
