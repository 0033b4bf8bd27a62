package post

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func everything(string) bool { return true }

const usualHead = "POST /apps/1/events?auth_key=k HTTP/1.1\r\nHost: localhost:6001\r\nUser-Agent: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"

func TestWhichHeadersArePlain(t *testing.T) {
	post := func(fields ...string) string {
		return "POST /a HTTP/1.1\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
	}
	for _, c := range []struct {
		about, text string
		want        verdict
	}{
		{"nothing yet", "", unfinished},
		{"the method alone", "POST ", unfinished},
		{"a part of it", "PO", unfinished},
		{"all but the end", usualHead[:len(usualHead)-1], unfinished},
		{"all", usualHead, plain},
		{"with its body", usualHead + "{}", plain},
		{"another method", "G", foreign},
		{"a method in lower case", "post ", foreign},
		{"a preface of HTTP/2", "PRI * HTTP/2.0\r\n", foreign},
		{"HTTP/1.0", strings.Replace(usualHead, "1.1", "1.0", 1), foreign},
		{"an absolute target", strings.Replace(usualHead, "/apps", "http://localhost/apps", 1), foreign},
		{"two spaces", strings.Replace(usualHead, " HTTP", "  HTTP", 1), foreign},
		{"a fragment", strings.Replace(usualHead, "k HTTP", "k#x HTTP", 1), foreign},
		{"line feeds alone", strings.ReplaceAll(usualHead, "\r\n", "\n"), foreign},
		{"no host", post("Content-Length: 2"), foreign},
		{"two hosts", post("Host: a", "Host: b", "Content-Length: 2"), foreign},
		{"an odd host", post("Host: a/b", "Content-Length: 2"), foreign},
		{"no length", post("Host: a"), foreign},
		{"two lengths", post("Host: a", "Content-Length: 2", "Content-Length: 2"), foreign},
		{"a length with a sign", post("Host: a", "Content-Length: +2"), foreign},
		{"a list of lengths", post("Host: a", "Content-Length: 2, 2"), foreign},
		{"a length that is too long", post("Host: a", "Content-Length: 0000000002"), foreign},
		{"an empty length", post("Host: a", "Content-Length:"), foreign},
		{"chunks", post("Host: a", "Content-Length: 2", "Transfer-Encoding: chunked"), foreign},
		{"chunks alone", post("Host: a", "transfer-encoding:chunked"), foreign},
		{"a question before the body", post("Host: a", "Content-Length: 2", "Expect: 100-continue"), foreign},
		{"an upgrade", post("Host: a", "Content-Length: 2", "Upgrade: websocket"), foreign},
		{"a trailer", post("Host: a", "Content-Length: 2", "Trailer: x"), foreign},
		{"an odd connection", post("Host: a", "Content-Length: 2", "Connection: upgrade"), foreign},
		{"a kept one", post("Host: a", "Content-Length: 2", "Connection: Keep-Alive"), plain},
		{"the last one", post("Host: a", "Content-Length: 2", "connection: close"), plain},
		{"a folded line", post("Host: a", "Content-Length: 2", "X: a", " b"), foreign},
		{"a space before the colon", post("Host: a", "Content-Length : 2"), foreign},
		{"no colon", post("Host: a", "Content-Length: 2", "X"), foreign},
		{"no name", post("Host: a", "Content-Length: 2", ": x"), foreign},
		{"a control character", post("Host: a", "Content-Length: 2", "X: \x00"), foreign},
		{"a carriage return", post("Host: a", "Content-Length: 2", "X: a\rb"), foreign},
		{"a line feed", post("Host: a", "Content-Length: 2", "X: a\nb"), foreign},
		{"what is not ASCII", post("Host: a", "Content-Length: 2", "X: é"), foreign},
		{"many fields", post("Host: a", "Content-Length: 2", strings.TrimSuffix(strings.Repeat("X: a\r\n", maxFields), "\r\n")), foreign},
	} {
		h, got := read([]byte(c.text), everything)
		if got != c.want {
			t.Errorf("%s: got %v, want %v", c.about, got, c.want)
		}
		if got != plain && h.size != 0 {
			t.Errorf("%s: %d bytes are taken, and the library does not get them", c.about, h.size)
		}
	}
	if _, got := read([]byte(usualHead), func(path string) bool { return path != "/apps/1/events" }); got != foreign {
		t.Errorf("a path that is not taken: got %v", got)
	}
}

// FuzzHead compares the parser of plain headers with net/http: a head that is accepted here means the same
// there.
func FuzzHead(f *testing.F) {
	for _, text := range []string{
		usualHead, "POST /a%2fb?x=%zz&y HTTP/1.1\r\nhost:a\r\ncontent-length:0\r\nX-Idempotency-Key: \t k \t\r\nx-a: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n",
		"POST //a?b HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n\r\nabc", "POST /? HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nAccept-Encoding: gzip\r\nPragma: no-cache\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, what := read(text, everything)
		if what != plain {
			if h.size != 0 {
				t.Fatalf("of %q, which is for the library, %d bytes are taken", text, h.size)
			}
			return
		}
		var u url.URL
		readable := h.address(&u)
		want, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(text[:h.size]), strings.NewReader(strings.Repeat("x", 64)))))
		if err != nil {
			if !readable {
				return // it is refused here as well
			}
			t.Fatalf("%q is taken, and the library says %v", text, err)
		}
		if !readable {
			t.Fatalf("%q has a target that is not read", text)
		}
		want.Header.Del("Cache-Control") // net/http derives it from Pragma
		h.fields.Del("Cache-Control")
		got := []any{h.target, u, h.host, h.fields, h.length, h.last}
		if diff := cmp.Diff([]any{want.RequestURI, *want.URL, want.Host, want.Header, want.ContentLength, want.Close}, got); diff != "" {
			t.Fatalf("%q (-library +ours)\n%s", text, diff)
		}
	})
}

func BenchmarkHead(b *testing.B) {
	text := []byte(strings.Replace(usualHead, "?auth_key=k", fmt.Sprintf("?auth_key=key&auth_timestamp=1790000000&auth_version=1.0&body_md5=%032d&auth_signature=%064d", 1, 2), 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, what := read(text, everything); what != plain {
			b.Fatal(what)
		}
	}
}
