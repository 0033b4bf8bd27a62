package post

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
)

// verdict is the decision about the beginning of a request.
type verdict int

const (
	// unfinished means that more of it is needed.
	unfinished verdict = iota
	// plain means that it is served here.
	plain
	// foreign means that net/http serves it.
	foreign
	// waiting means that net/http serves it, after it has waited for its turn.
	waiting
)

// head is the header of a plain request.
type head struct {
	// size is its length in bytes, with the empty line after it.
	size   int
	target string
	host   string
	fields http.Header
	length int64
	// last says that the client wants the connection closed after the answer.
	last bool
}

const method, asking = "POST ", "GET "

// maxBlank is how many bytes of empty lines are skipped before a further request: some clients send one after a
// body.
const maxBlank = 4

// maxFields bounds the fields of a plain header.
const maxFields = 32

// read examines the received part of a request. It is strict: everything unusual is foreign. Only a plain head
// has a size, so nothing else is consumed.
func read(text []byte, takes func(path string) bool) (head, verdict) {
	if n := min(len(text), len(method)); string(text[:n]) != method[:n] {
		return head{}, foreign
	}
	end := bytes.Index(text, []byte("\r\n\r\n"))
	if end < 0 {
		if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) {
			return head{}, foreign // with other line ends, the end of the header would not be found
		}
		return head{}, unfinished
	}
	// The parts of the header are slices of one string.
	whole := string(text[:end+2])
	line, rest, _ := strings.Cut(whole[len(method):], "\r\n")
	target, proto, _ := strings.Cut(line, " ")
	path, _, _ := strings.Cut(target, "?")
	if proto != "HTTP/1.1" || !takes(path) || !printable(target) {
		return head{}, foreign
	}
	h := head{size: end + 4, target: target, fields: make(http.Header, 8), length: -1}
	values := make([]string, 0, 8)
	for n := 0; rest != ""; n++ {
		line, rest, _ = strings.Cut(rest, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok || n == maxFields || !token(name) {
			return head{}, foreign
		}
		if value = strings.Trim(value, " \t"); !text7(value) || !h.take(fieldName(name), value, &values) {
			return head{}, foreign
		}
	}
	if h.host == "" || h.length < 0 {
		return head{}, foreign
	}
	return h, plain
}

// take stores a field. It reports false for a field that makes the request unusual.
func (h *head) take(name, value string, values *[]string) bool {
	switch name {
	case "Host":
		if h.host != "" || !hostName(value) {
			return false
		}
		h.host = value
		return true // net/http keeps it separately as well
	case "Content-Length":
		if h.length >= 0 || value == "" || len(value) > 9 {
			return false
		}
		h.length = 0
		for i := range len(value) {
			if value[i] < '0' || value[i] > '9' {
				return false
			}
			h.length = 10*h.length + int64(value[i]-'0')
		}
	case "Connection":
		switch {
		case strings.EqualFold(value, "close"):
			h.last = true
		case !strings.EqualFold(value, "keep-alive"):
			return false
		}
	case "Transfer-Encoding", "Expect", "Upgrade", "Trailer", "Te":
		return false
	}
	if have := h.fields[name]; have != nil {
		h.fields[name] = append(have, value)
		return true
	}
	*values = append(*values, value)
	last := len(*values)
	h.fields[name] = (*values)[last-1 : last : last]
	return true
}

// waits examines the received part of a foreign request: it is waiting if its path must wait for a turn and its
// header is complete.
func waits(text []byte, queues func(path string) bool) verdict {
	if n := min(len(text), len(asking)); string(text[:n]) != asking[:n] {
		return foreign
	}
	line, _, whole := bytes.Cut(text, []byte("\r\n"))
	target, _, ok := bytes.Cut(line[min(len(line), len(asking)):], []byte(" "))
	path, _, asks := bytes.Cut(target, []byte("?"))
	switch known := ok || asks; {
	case known && !queues(string(path)):
		return foreign
	case whole && !bytes.HasSuffix(line, []byte(" HTTP/1.1")):
		return foreign
	case !whole || !bytes.Contains(text, []byte("\r\n\r\n")):
		if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) {
			return foreign // see read
		}
		return unfinished
	}
	return waiting
}

// usual maps the names of common fields, as most clients write them, to their canonical form.
var usual = map[string]string{
	"host": "Host", "user-agent": "User-Agent", "accept": "Accept", "accept-encoding": "Accept-Encoding", "content-type": "Content-Type",
	"content-length": "Content-Length", "connection": "Connection", "x-pusher-library": "X-Pusher-Library",
}

// fieldName returns the canonical form of a field name.
func fieldName(name string) string {
	if kept, ok := usual[name]; ok {
		return kept
	}
	return http.CanonicalHeaderKey(name)
}

// address parses the target as a URL. It reports false if the target is invalid.
func (h *head) address(into *url.URL) bool {
	path, query, asks := strings.Cut(h.target, "?")
	if simple(path) {
		into.Path, into.RawQuery, into.ForceQuery = path, query, asks && query == ""
		return true
	}
	u, err := url.ParseRequestURI(h.target)
	if err == nil {
		*into = *u
	}
	return err == nil
}

// simple reports whether a path needs no decoding, like the paths of most apps.
func simple(path string) bool {
	for i := range len(path) {
		c := path[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '/') {
			return false
		}
	}
	return !strings.HasPrefix(path, "//")
}

// printable reports whether a target is a path with only the characters that are allowed.
func printable(target string) bool {
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7f || target[i] == '#' {
			return false
		}
	}
	return strings.HasPrefix(target, "/")
}

func text7(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func token(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return name != ""
}

func hostName(host string) bool {
	for i := range len(host) {
		c := host[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._:[]", c) >= 0) {
			return false
		}
	}
	return host != ""
}
