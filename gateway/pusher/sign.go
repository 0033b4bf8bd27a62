package pusher

import (
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Window is the maximum difference between the clocks of a publisher and of the server.
const Window = 600 * time.Second

func sign(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// SignRequest returns the signature of a request of the HTTP API (protocol section 2.1). params are the decoded
// query parameters without auth_signature, and path is the path without the query.
func SignRequest(secret, method, path string, params url.Values) string {
	return sign(secret, strings.ToUpper(method)+"\n"+path+"\n"+signedParams(params))
}

// signedParams joins parameters in byte order of their lower-cased names, with values that are not
// percent-encoded.
func signedParams(params url.Values) string {
	type pair struct{ name, value string }
	var room [8]pair
	pairs := room[:0]
	size := 0
	for name, values := range params {
		name = strings.ToLower(name)
		if name == "auth_signature" {
			continue
		}
		p := pair{name, strings.Join(values, ",")}
		pairs = append(pairs, p)
		size += len(p.name) + len(p.value) + 2
	}
	// Sorting by value as well keeps the order of names that differ only in case independent of the map's order.
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	var text strings.Builder
	text.Grow(size)
	for i, p := range pairs {
		if i > 0 {
			text.WriteByte('&')
		}
		text.WriteString(p.name)
		text.WriteByte('=')
		text.WriteString(p.value)
	}
	return text.String()
}

// Request is the part of a request that a signature of the HTTP API covers.
type Request struct {
	Method string
	// Path is the path as sent. A signature over it, or over what it decodes to, is valid, but see
	// [Signer.VerifyQuery]. Others are further accepted forms of the path as sent, such as with the path prefix.
	Path   string
	Others []string
	// Params and Listed are those of [ParseQuery].
	Params url.Values
	Listed string
	Body   []byte
}

// plain reports whether decoding a path is unambiguous. Otherwise a signature over the decoded path would be
// valid for another path as well: `a%252Fb` decodes to the form in which `a/b` is sent.
func plain(path string) bool {
	for i := 0; i+2 < len(path); i++ {
		if path[i] == '%' && (path[i+1:i+3] == "25" || strings.EqualFold(path[i+1:i+3], "2f") || path[i+1] < '2' || strings.EqualFold(path[i+1:i+3], "7f")) {
			return false
		}
	}
	return true
}

// signedPaths appends the forms of the path over which a signature is valid.
func (r *Request) signedPaths(paths []string) []string {
	paths = append(paths, r.Path)
	for _, other := range r.Others {
		if !slices.Contains(paths, other) {
			paths = append(paths, other)
		}
	}
	for _, p := range paths {
		if strings.IndexByte(p, '%') < 0 {
			continue
		}
		decoded, err := url.PathUnescape(p)
		if err == nil && plain(p) && !slices.Contains(paths, decoded) {
			paths = append(paths, decoded)
		}
	}
	return paths
}

// ErrUnsigned is wrapped by every error about a request that is not authorized.
var ErrUnsigned = errors.New("request not authorized")

// RequestError says which check of protocol section 2.1 a request has failed. It wraps [ErrUnsigned] and
// contains no secret.
type RequestError struct {
	// Parameter is the missing or wrong query parameter: auth_key, auth_version, auth_timestamp, body_md5 or
	// auth_signature.
	Parameter string
	// Reason continues the sentence that begins with Parameter.
	Reason string
}

func (e *RequestError) Error() string {
	return ErrUnsigned.Error() + ": " + e.Parameter + " " + e.Reason
}

// Unwrap makes [errors.Is] find [ErrUnsigned].
func (e *RequestError) Unwrap() error { return ErrUnsigned }

func unsigned(parameter, reason string) error { return &RequestError{parameter, reason} }

// Signer verifies signatures with one secret. It reuses HMAC states that have processed the secret already,
// which is a third of the cost of a signature. It is safe for concurrent use.
type Signer struct{ sums sync.Pool }

// NewSigner returns the signer for a secret.
func NewSigner(secret string) *Signer {
	return &Signer{sync.Pool{New: func() any {
		return &signing{mac: hmac.New(sha256.New, []byte(secret))}
	}}}
}

// signing is an HMAC state with its buffers.
type signing struct {
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
	hex  [2 * sha256.Size]byte
	got  [2 * sha256.Size]byte
}

// signed reports whether got is the signature of a text, which is given in parts.
func (s *Signer) signed(got string, parts ...string) bool {
	w := s.sums.Get().(*signing)
	defer s.sums.Put(w)
	w.text = w.text[:0]
	for _, part := range parts {
		w.text = append(w.text, part...)
	}
	w.mac.Reset()
	w.mac.Write(w.text)
	hex.Encode(w.hex[:], w.mac.Sum(w.sum[:0]))
	return len(got) == copy(w.got[:], got) && len(got) == len(w.got) && hmac.Equal(w.got[:], w.hex[:])
}

// VerifyQuery checks everything but the body, which may not have arrived yet: the signature covers its hash, and
// [VerifyBody] does the rest. A signature over the decoded path is valid if decoding is unambiguous: without
// escaped slashes, percent signs and control characters. The error is a [*RequestError].
func (s *Signer) VerifyQuery(key string, now time.Time, r *Request) error {
	given := r.Params.Get("auth_key")
	switch {
	case given == "":
		return unsigned("auth_key", "is missing")
	case !same(given, key):
		return unsigned("auth_key", "is not that of this app")
	case r.Params.Get("auth_version") != "1.0":
		return unsigned("auth_version", "is not 1.0")
	}
	at, err := strconv.ParseInt(r.Params.Get("auth_timestamp"), 10, 64)
	if err != nil {
		return unsigned("auth_timestamp", "is missing or not a number of seconds")
	}
	const window = int64(Window / time.Second)
	if off := now.Unix() - at; off > window || off < -window {
		return unsigned("auth_timestamp", "is more than "+strconv.FormatInt(window, 10)+" s from the server's clock")
	}
	if sums(r.Params) > 1 || strings.Contains(r.Params.Get("body_md5"), ",") {
		return unsigned("body_md5", "is given more than once")
	}
	got := r.Params.Get("auth_signature")
	if got == "" {
		return unsigned("auth_signature", "is missing")
	}
	var room [4]string
	text, method := signedParams(r.Params), strings.ToUpper(r.Method)
	for _, path := range r.signedPaths(room[:0]) {
		if s.signed(got, method, "\n", path, "\n", text) || r.Listed != "" && s.signed(got, method, "\n", path, "\n", r.Listed) {
			return nil
		}
	}
	return unsigned("auth_signature", "is wrong")
}

// VerifyQuery is [Signer.VerifyQuery] for a secret that is used once.
func VerifyQuery(key, secret string, now time.Time, r Request) error {
	return NewSigner(secret).VerifyQuery(key, now, &r)
}

// sums returns the number of values of body_md5 with any case of its name, because the signature does not
// distinguish them.
func sums(params url.Values) int {
	n := 0
	for name, values := range params {
		if strings.EqualFold(name, "body_md5") {
			n += len(values)
		}
	}
	return n
}

// AnnouncesBody reports whether a signed request may have a body that is not empty: it then has the hash of the
// body. Without a hash, a body can be refused before it is read.
func AnnouncesBody(params url.Values) bool { return params.Has("body_md5") }

// VerifyBody compares a body with the hash that the signature covers. The error is a [*RequestError].
func VerifyBody(params url.Values, body []byte) error {
	if len(body) == 0 && !AnnouncesBody(params) {
		return nil
	}
	sum := md5.Sum(body)
	var got, want [2 * md5.Size]byte
	hex.Encode(want[:], sum[:])
	if given := params.Get("body_md5"); len(given) != len(got) || copy(got[:], given) != len(got) || !hmac.Equal(got[:], want[:]) {
		return ErrWrongBody
	}
	return nil
}

// ErrWrongBody is the [*RequestError] for a body that differs from the signed one.
var ErrWrongBody = unsigned("body_md5", "is missing or wrong")

// SignChannel returns the signature of a subscription (protocol section 1.8), without the key in front. It
// covers channelData if hasData is set.
func SignChannel(secret, socketID, channel, channelData string, hasData bool) string {
	message := socketID + ":" + channel
	if hasData {
		message += ":" + channelData
	}
	return sign(secret, message)
}

// SignUser returns the signature of a sign-in, without the key in front.
func SignUser(secret, socketID, userData string) string {
	return sign(secret, socketID+"::user::"+userData)
}

// VerifyChannel verifies the auth string of a subscription, `KEY:SIGNATURE`.
func VerifyChannel(key, secret, auth, socketID, channel, channelData string, hasData bool) error {
	return verify(key, auth, SignChannel(secret, socketID, channel, channelData, hasData))
}

// VerifySubscription verifies the signature of a subscription to a channel that needs one. Some SDKs also sign
// channel_data for private channels, and clients then send it along. For these channels the signature may or may
// not cover it, and it has no meaning. Covered channel_data must be a JSON object: names of channels may contain
// colons, and a signature for `private-a:b` would otherwise be valid for `private-a` with the channel_data `b`.
func VerifySubscription(key, secret, socketID string, s *Subscribe) error {
	if !s.HasChannelData {
		return VerifyChannel(key, secret, s.Auth, socketID, s.Channel, "", false)
	}
	_, err := object(s.ChannelData)
	if err != nil {
		err = errors.New("channel_data holds no JSON object")
	} else {
		err = VerifyChannel(key, secret, s.Auth, socketID, s.Channel, s.ChannelData, true)
	}
	if err == nil || KindOf(s.Channel).Presence() {
		return err
	}
	return VerifyChannel(key, secret, s.Auth, socketID, s.Channel, "", false)
}

// VerifyUser verifies the auth string of a sign-in.
func VerifyUser(key, secret, auth, socketID, userData string) error {
	return verify(key, auth, SignUser(secret, socketID, userData))
}

func verify(key, auth, want string) error {
	given, signature, ok := strings.Cut(auth, ":")
	switch {
	case auth == "":
		return errors.New("auth is missing")
	case !ok || !same(given, key):
		return errors.New("auth does not begin with the key of this app")
	case !same(signature, want):
		return errors.New("auth has a wrong signature")
	}
	return nil
}
