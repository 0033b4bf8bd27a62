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

// Window is how far the clock of a publisher may be off.
const Window = 600 * time.Second

func sign(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// SignRequest signs a request of the HTTP API (protocol section 2.1). params are
// the query parameters without auth_signature, decoded; path is without the
// query.
func SignRequest(secret, method, path string, params url.Values) string {
	return sign(secret, strings.ToUpper(method)+"\n"+path+"\n"+signedParams(params))
}

// signedParams joins parameters in byte order of their lower-cased names, values
// not percent-encoded.
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
	// Names that differ only in case would be signed in the random order of a
	// map, if it were not for the values.
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

// Request is what a signature of the HTTP API covers.
type Request struct {
	Method string
	// Path is the path as sent and Decoded the percent-decoded one; a
	// signature over either is good, but see [VerifyQuery]. Others are further forms of
	// the path as sent, as with the prefix that is in front of all of them.
	Path, Decoded string
	Others        []string
	// Params are those of [ParseQuery], and Listed is its Listed.
	Params url.Values
	Listed string
	Body   []byte
}

// plain tells whether decoding a path loses nothing: what is signed decoded would
// otherwise be good for another path as well, as `a%252Fb` decodes to the form in which
// `a/b` is sent.
func plain(path string) bool {
	for i := 0; i+2 < len(path); i++ {
		if path[i] == '%' && (path[i+1:i+3] == "25" || strings.EqualFold(path[i+1:i+3], "2f") || path[i+1] < '2' || strings.EqualFold(path[i+1:i+3], "7f")) {
			return false
		}
	}
	return true
}

// signedPaths appends the forms of the path over which a signature is good.
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
	if r.Decoded != "" && plain(r.Path) && !slices.Contains(paths, r.Decoded) {
		paths = append(paths, r.Decoded)
	}
	return paths
}

// ErrUnsigned wraps every reason for which a request is not accepted.
var ErrUnsigned = errors.New("request not authorized")

// RequestError says which check of protocol section 2.1 a request failed. It
// wraps [ErrUnsigned] and holds nothing secret.
type RequestError struct {
	// Parameter is the query parameter that is missing or wrong: auth_key,
	// auth_version, auth_timestamp, body_md5 or auth_signature.
	Parameter string
	// Reason continues the sentence that Parameter begins.
	Reason string
}

func (e *RequestError) Error() string {
	return ErrUnsigned.Error() + ": " + e.Parameter + " " + e.Reason
}

// Unwrap makes [errors.Is] find [ErrUnsigned].
func (e *RequestError) Unwrap() error { return ErrUnsigned }

func unsigned(parameter, reason string) error { return &RequestError{parameter, reason} }

// Signer checks signatures that are made with one secret. It keeps the state of a sum that has
// taken the secret in, which is a third of what a signature costs. Any number of goroutines
// may use it.
type Signer struct{ sums sync.Pool }

// NewSigner returns the signer of a secret.
func NewSigner(secret string) *Signer {
	return &Signer{sync.Pool{New: func() any {
		return &signing{mac: hmac.New(sha256.New, []byte(secret))}
	}}}
}

// signing is a sum with the room that it needs.
type signing struct {
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
	hex  [2 * sha256.Size]byte
	got  [2 * sha256.Size]byte
}

// signed tells whether a signature is that of a text, which comes in parts.
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

// VerifyQuery checks everything but the body, which needs not be there yet: the
// signature covers its sum. [VerifyBody] does the rest. A signature over the decoded
// path is good where that has one meaning: without escaped slashes, percent signs and
// control characters. The error is a [*RequestError].
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

// sums counts the values of body_md5, in whatever case its name is written, as the
// signature does not tell them apart.
func sums(params url.Values) int {
	n := 0
	for name, values := range params {
		if strings.EqualFold(name, "body_md5") {
			n += len(values)
		}
	}
	return n
}

// AnnouncesBody tells whether a signed request may have a body that is not empty: it
// then has the sum of it. Without one, the body is known to be wrong before it is read.
func AnnouncesBody(params url.Values) bool { return params.Has("body_md5") }

// VerifyBody compares a body with the sum that the signature covers. The error is a
// [*RequestError].
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

// ErrWrongBody is the [*RequestError] of a body that is not the one that was signed.
var ErrWrongBody = unsigned("body_md5", "is missing or wrong")

// SignChannel signs a subscription (protocol section 1.8), without the key in
// front. channelData is covered if hasData is set.
func SignChannel(secret, socketID, channel, channelData string, hasData bool) string {
	message := socketID + ":" + channel
	if hasData {
		message += ":" + channelData
	}
	return sign(secret, message)
}

// SignUser signs a sign-in, without the key in front.
func SignUser(secret, socketID, userData string) string {
	return sign(secret, socketID+"::user::"+userData)
}

// VerifyChannel checks the auth string of a subscription, `KEY:SIGNATURE`.
func VerifyChannel(key, secret, auth, socketID, channel, channelData string, hasData bool) error {
	return verify(key, auth, SignChannel(secret, socketID, channel, channelData, hasData))
}

// VerifySubscription checks the signature of a subscription to a channel that needs one.
// Some SDKs sign channel_data for private channels, too, which clients then send along;
// there it may be covered or not, and means nothing. What is covered must be a JSON
// object: names of channels may have colons, and a signature for `private-a:b` would
// otherwise open `private-a` to who calls the rest of the name data.
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

// VerifyUser checks the auth string of a sign-in.
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
