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

// TurnAway closes the connection after the answer to a request whose body is not wanted, so that the server
// neither waits nor makes room for it. The client may be sending the body already, and closing at once would
// reset the connection before the client has read the answer. net/http delays the close only after a
// MaxBytesReader has reached its limit, so one is made to do that here without reading the body. A request
// without a body is not affected.
func TurnAway(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.ProtoMajor >= 2 {
		return // HTTP/2 aborts a body without closing the connection
	}
	w.Header().Set("Connection", "close")
	// The server would continue to read the body after the answer for a while.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(turnAwayWait))
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

// turnAwayWait is how long the server reads an unwanted body after the answer.
const turnAwayWait = 20 * time.Millisecond

// prepare checks the request, and reads its body only after the signature is verified. The signature covers the
// hash of the body, so nothing is read from a client that cannot sign.
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
		// An unauthorized client may have sent hundreds of requests after this one.
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

// authorize verifies the signature, unless there is none and none is needed.
func (r *request) authorize() (signed bool, err error) {
	signed = r.params.Has("auth_signature") || r.params.Has("auth_key")
	if r.app != nil && !signed && r.api.opt.AllowUnsigned != nil && r.api.opt.AllowUnsigned(r.http) {
		return false, r.enabled()
	}
	// The signature for an unknown app is compared with that of an empty app, so that the answer is that for a
	// wrong key.
	by := r.app
	if by == nil {
		by = &app.App{}
	}
	signature := pusher.Request{
		Method: r.http.Method, Path: r.http.URL.EscapedPath(),
		Params: r.params, Listed: r.query.Listed,
	}
	if sent := r.sentPath(); sent != "" && sent != signature.Path {
		signature.Others = []string{sent}
	}
	verify := func(key, secret string) error { return r.api.signer(secret).VerifyQuery(key, r.began, &signature) }
	err = by.Verify(r.began, verify)
	if err != nil && signature.Method == http.MethodHead {
		// A GET signature is accepted for HEAD.
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

// signer returns the signer for a secret. It is cached, because creating one takes as long as using it.
func (a *API) signer(secret string) *pusher.Signer {
	if s, known := a.signers.Load(secret); known {
		return s.(*pusher.Signer)
	}
	s, _ := a.signers.LoadOrStore(secret, pusher.NewSigner(secret))
	return s.(*pusher.Signer)
}

// sentPath returns the path as it was sent, including the path prefix.
func (r *request) sentPath() string {
	path, _, _ := strings.Cut(r.http.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		return "" // not from a server, or in absolute form
	}
	return path
}

// checkParams refuses unknown parameters, because a misspelled one would silently have no effect.
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

// receive reads the body and verifies its hash. A signed request without a hash must have no body, which its
// length or the first byte shows.
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
		if length < 0 || limit == 0 { // otherwise the server ends the body at the announced length
			in.in = http.MaxBytesReader(w, r.http.Body, limit)
		}
		if r.body, err = readBody(in, length, &r.hold); err == nil {
			in.done()
		} else {
			TurnAway(w, r.http) // discards the rest of the body
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
			// A layer below an SDK that compresses bodies leaves the hash unchanged.
			wrong = pusher.VerifyBody(r.params, r.body)
		}
	}
	if wrong != nil {
		return unauthorized(wrong)
	}
	return nil
}

// packing reports whether a body is compressed with gzip, and refuses other encodings.
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

// unpack replaces a compressed body by its content, within the same bounds.
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

// full is the error for a body for which there is no room.
func (r *request) full() error {
	return crossed(limitBodies, http.StatusServiceUnavailable, "service_unavailable",
		"too much is being published at a time; the limit is %d bytes of requests (http.max_bodies)", r.api.opt.MaxBodies)
}

// paced is a body that must keep arriving: each pause and the whole are bounded. Servers that cannot set
// deadlines have no such bounds.
type paced struct {
	in      io.Reader
	control *http.ResponseController
	pause   time.Duration
	// now is when reading began, and zero after the first read.
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

// done sets the deadline of the whole body again, until the server sets that of the next request. It must not be
// earlier: the server reads to notice that the client has gone.
func (p *paced) done() { _ = p.control.SetReadDeadline(p.end) }
