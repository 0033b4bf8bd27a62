package rest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// TurnAway has the connection closed after the answer to a request whose body is not
// wanted: waiting for it helps nobody, and neither does making room for it. The client may
// be sending it already, and closing at once would reset the connection before the client
// has read the answer. The server takes its time only after a reader has hit a limit, so
// one is made to, if anything of the body is there. A request without a body goes on as it
// was.
func TurnAway(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	w.Header().Set("Connection", "close")
	// The server itself would read on for a while behind the answer.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(turnAwayWait))
	if r.Header.Get("Expect") != "" {
		return // the client waits to be asked for its body, which reading does
	}
	_, _ = http.MaxBytesReader(w, r.Body, 0).Read(make([]byte, 1))
}

// turnAwayWait is how long the beginning of an unwanted body is waited for.
const turnAwayWait = 20 * time.Millisecond

// prepare checks the request, and reads its body once it is known whose it is: the
// signature covers the sum of the body, so that whoever cannot sign has nothing read.
func (r *request) prepare(w http.ResponseWriter) error {
	if reason := r.api.opt.Refuse(r.http, r.app); reason != "" {
		TurnAway(w, r.http)
		return fail(http.StatusForbidden, "forbidden", "%s", reason)
	}
	if r.http.ContentLength > r.api.opt.MaxBody {
		TurnAway(w, r.http)
		return bodyError(&http.MaxBytesError{Limit: r.api.opt.MaxBody})
	}
	var err error
	if r.params, err = url.ParseQuery(r.http.URL.RawQuery); err != nil {
		TurnAway(w, r.http)
		return invalid("query: %v", err)
	}
	signed, err := r.authorize()
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
	key, secret := "", ""
	if r.app != nil {
		key, secret = r.app.Key, r.app.Secret.Reveal()
	}
	err = pusher.VerifyQuery(key, secret, r.api.opt.Now(), pusher.Request{
		Method: r.http.Method, Path: r.http.URL.EscapedPath(), Decoded: r.http.URL.Path, Params: r.params,
	})
	if err != nil || r.app == nil {
		if err == nil {
			err = pusher.ErrUnsigned
		}
		return true, unauthorized(err)
	}
	return true, r.enabled()
}

func unauthorized(err error) error {
	return fail(http.StatusUnauthorized, "auth_failed", "%v", err)
}

// receive reads the body and compares it with its sum. Of a signed request without a
// sum there must be none, which is known from its length, or with its first byte.
func (r *request) receive(w http.ResponseWriter, signed bool) error {
	length, limit := r.http.ContentLength, r.api.opt.MaxBody
	if signed && !pusher.AnnouncesBody(r.params) {
		if length > 0 {
			TurnAway(w, r.http)
			return unauthorized(pusher.ErrWrongBody)
		}
		limit = 0
	}
	if length != 0 {
		in := &paced{
			in: http.MaxBytesReader(w, r.http.Body, limit), control: http.NewResponseController(w),
			pause: r.api.opt.BodyTimeout / 3, end: time.Now().Add(r.api.opt.BodyTimeout),
		}
		var err error
		if r.body, err = readBody(in, length, &r.hold); err == nil {
			in.done()
		} else {
			TurnAway(w, r.http) // the rest of it, if there is any
		}
		switch {
		case errors.Is(err, errFull):
			return crossed(limitBodies, http.StatusServiceUnavailable, "service_unavailable",
				"too much is being published at a time; the limit is %d bytes of requests (http.max_bodies)", r.api.opt.MaxBodies)
		case err != nil && limit == 0:
			return unauthorized(pusher.ErrWrongBody)
		case err != nil:
			return bodyError(err)
		}
	}
	if signed {
		if err := pusher.VerifyBody(r.params, r.body); err != nil {
			return unauthorized(err)
		}
	}
	return nil
}

// paced is a body that must go on coming: there is a bound for each pause, and one for
// the whole. Servers that cannot set deadlines have none.
type paced struct {
	in      io.Reader
	control *http.ResponseController
	pause   time.Duration
	end     time.Time
}

func (p *paced) Read(b []byte) (int, error) {
	deadline := time.Now().Add(p.pause)
	if deadline.After(p.end) {
		deadline = p.end
	}
	_ = p.control.SetReadDeadline(deadline)
	return p.in.Read(b)
}

// done leaves the deadline of the whole in force, until the server sets that of the next
// request. It must not be sooner: the server notices by reading that a client has gone.
func (p *paced) done() { _ = p.control.SetReadDeadline(p.end) }
