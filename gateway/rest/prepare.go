package rest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TurnAway has the connection closed after the answer to a request whose body is not
// wanted: waiting for it helps nobody, and neither does making room for it. The client may
// be sending it already, and closing at once would reset the connection before the client
// has read the answer. The server takes its time only after a reader has hit a limit, so
// one is made to, which does not wait for the body itself: it may come after the answer. A
// request without a body goes on as it was.
func TurnAway(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.ProtoMajor >= 2 {
		return // a body of HTTP/2 is given up without its connection
	}
	w.Header().Set("Connection", "close")
	// The server itself would read on for a while behind the answer.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(turnAwayWait))
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

// turnAwayWait is how long the server reads of an unwanted body when it has answered.
const turnAwayWait = 20 * time.Millisecond

// prepare checks the request, and reads its body once it is known whose it is: the
// signature covers the sum of the body, so that whoever cannot sign has nothing read.
func (r *request) prepare(w http.ResponseWriter, found route) error {
	if reason := r.api.opt.Refuse(r.http, r.app); reason != "" {
		TurnAway(w, r.http)
		return fail(http.StatusForbidden, "forbidden", "%s", reason)
	}
	if r.http.ContentLength > r.api.opt.MaxBody {
		TurnAway(w, r.http)
		return bodyError(&http.MaxBytesError{Limit: r.api.opt.MaxBody})
	}
	signed, err := r.authorize()
	if err != nil {
		// A stranger may have sent hundreds of requests behind this one.
		w.Header().Set("Connection", "close")
	} else {
		err = r.checkParams(found.takes)
	}
	if err != nil {
		TurnAway(w, r.http)
		return err
	}
	return r.receive(w, signed)
}

// authorize checks the signature, unless there is none and none is needed.
func (r *request) authorize() (signed bool, err error) {
	signed = r.params.Has("auth_signature") || r.params.Has("auth_key")
	if r.app != nil && !signed && r.api.opt.AllowUnsigned != nil && r.api.opt.AllowUnsigned(r.http) {
		return false, r.enabled()
	}
	// An unknown app is checked against nothing, so that it cannot be told
	// from a known one with a wrong key.
	by := r.app
	if by == nil {
		by = &app.App{}
	}
	signature := pusher.Request{
		Method: r.http.Method, Path: r.http.URL.EscapedPath(), Decoded: r.http.URL.Path,
		Params: r.params, Listed: r.query.Listed,
	}
	if sent := r.sentPath(); sent != "" && sent != signature.Path {
		signature.Others = []string{sent}
	}
	verify := func(key, secret string) error { return r.api.signer(secret).VerifyQuery(key, r.began, &signature) }
	err = by.Verify(r.began, verify)
	if err != nil && signature.Method == http.MethodHead {
		// Whoever may have the whole answer may have its head.
		signature.Method = http.MethodGet
		err = by.Verify(r.began, verify)
	}
	if err != nil || r.app == nil {
		if err == nil {
			err = pusher.ErrUnsigned
		}
		return true, unauthorized(err)
	}
	return true, r.enabled()
}

// signer checks signatures with a secret. It is kept: making one takes as long as using it.
func (a *API) signer(secret string) *pusher.Signer {
	if s, known := a.signers.Load(secret); known {
		return s.(*pusher.Signer)
	}
	s, _ := a.signers.LoadOrStore(secret, pusher.NewSigner(secret))
	return s.(*pusher.Signer)
}

// sentPath is the path as it was sent, with the prefix that all paths may have.
func (r *request) sentPath() string {
	path, _, _ := strings.Cut(r.http.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		return "" // not from a server, or with scheme and host
	}
	return path
}

// checkParams refuses parameters that this request does not have: one that is written
// wrong would be answered as if it had been heard.
func (r *request) checkParams(takes []string) error {
	for name := range r.params {
		switch name {
		case "auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5":
			continue
		}
		if slices.Contains(takes, name) {
			continue
		}
		if len(takes) == 0 {
			return invalid("query: the parameter %.64q is not known; this request takes none", name)
		}
		return invalid("query: the parameter %.64q is not known; this request takes %s", name, strings.Join(takes, ", "))
	}
	return nil
}

func unauthorized(err error) error {
	return fail(http.StatusUnauthorized, "auth_failed", "%v", err)
}

// receive reads the body and compares it with its sum. Of a signed request without a
// sum there must be none, which is known from its length, or with its first byte.
func (r *request) receive(w http.ResponseWriter, signed bool) error {
	length, limit := r.http.ContentLength, r.api.opt.MaxBody
	packed, err := packing(r.http.Header)
	if err != nil {
		TurnAway(w, r.http)
		w.Header().Set("Accept-Encoding", "gzip")
		return err
	}
	if signed && !pusher.AnnouncesBody(r.params) {
		if length > 0 {
			TurnAway(w, r.http)
			return unauthorized(pusher.ErrWrongBody)
		}
		limit = 0
	}
	if length != 0 {
		now := time.Now()
		in := &paced{
			in: r.http.Body, control: http.NewResponseController(w),
			pause: r.api.opt.BodyTimeout / 3, now: now, end: now.Add(r.api.opt.BodyTimeout),
		}
		if length < 0 || limit == 0 { // the server lets no more through than was announced
			in.in = http.MaxBytesReader(w, r.http.Body, limit)
		}
		if r.body, err = readBody(in, length, &r.hold); err == nil {
			in.done()
		} else {
			TurnAway(w, r.http) // the rest of it, if there is any
		}
		switch {
		case errors.Is(err, errFull):
			return r.full()
		case err != nil && limit == 0:
			return unauthorized(pusher.ErrWrongBody)
		case err != nil:
			return bodyError(err)
		}
	}
	var wrong error
	if signed {
		wrong = pusher.VerifyBody(r.params, r.body)
	}
	if packed && len(r.body) > 0 {
		if err := r.unpack(w); err != nil {
			return err
		}
		if wrong != nil {
			// Who packs behind the back of an SDK leaves the sum as it was.
			wrong = pusher.VerifyBody(r.params, r.body)
		}
	}
	if wrong != nil {
		return unauthorized(wrong)
	}
	return nil
}

// packing tells whether a body is packed with gzip, and refuses what is not offered.
func packing(h http.Header) (bool, error) {
	encoding := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ",")))
	switch encoding {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	}
	return false, fail(http.StatusUnsupportedMediaType, "unsupported_encoding", "Content-Encoding is %.40q; gzip is offered", encoding)
}

// unpack replaces a body by what was packed in it, within the same bounds.
func (r *request) unpack(w http.ResponseWriter) error {
	in, err := gzip.NewReader(bytes.NewReader(r.body))
	if err != nil {
		return invalid("the body is not gzip, as Content-Encoding says: %v", err)
	}
	before := int64(len(r.body))
	body, err := readBody(http.MaxBytesReader(w, io.NopCloser(in), r.api.opt.MaxBody), -1, &r.hold)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errFull):
		return r.full()
	case errors.As(err, &tooLarge):
		return bodyError(err)
	case err != nil:
		return invalid("the body is not gzip, as Content-Encoding says: %v", err)
	}
	r.body = body
	r.hold.give(min(before, r.hold.bytes))
	return nil
}

// full is the answer to a body for which there is no room.
func (r *request) full() error {
	return crossed(limitBodies, http.StatusServiceUnavailable, "service_unavailable",
		"too much is being published at a time; the limit is %d bytes of requests (http.max_bodies)", r.api.opt.MaxBodies)
}

// paced is a body that must go on coming: there is a bound for each pause, and one for
// the whole. Servers that cannot set deadlines have none.
type paced struct {
	in      io.Reader
	control *http.ResponseController
	pause   time.Duration
	// now is when reading began, and zero once it has.
	now, end time.Time
}

func (p *paced) Read(b []byte) (int, error) {
	deadline := p.now.Add(p.pause)
	if p.now.IsZero() {
		deadline = time.Now().Add(p.pause)
	}
	p.now = time.Time{}
	if deadline.After(p.end) {
		deadline = p.end
	}
	_ = p.control.SetReadDeadline(deadline)
	return p.in.Read(b)
}

// done leaves the deadline of the whole in force, until the server sets that of the next
// request. It must not be sooner: the server notices by reading that a client has gone.
func (p *paced) done() { _ = p.control.SetReadDeadline(p.end) }
