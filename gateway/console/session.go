package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

const (
	// cookie is the name of the session cookie, or its beginning.
	cookie = "sluice_console"
	// sessionTime is how long a session lasts, and maxSessions bounds their number; beyond it the oldest session
	// ends.
	sessionTime = 12 * time.Hour
	maxSessions = 64
	// maxBody bounds the body of a request in bytes.
	maxBody = 4 << 10
)

// sessions are the sessions, by the hash of their cookie, so that the time of a lookup reveals nothing. They end
// with the process.
type sessions struct {
	now func() time.Time

	mu   sync.Mutex
	till map[[32]byte]time.Time
}

// cookieName returns the name of the session cookie of one console. Browsers send the cookies of a host to all
// of its ports, so consoles on one host need different names: otherwise a login to one would log out of the
// others.
func cookieName(instance string) string {
	if instance == "" {
		return cookie
	}
	sum := sha256.Sum256([]byte(instance))
	return cookie + "_" + hex.EncodeToString(sum[:8])
}

// begin creates a session and returns the value of its cookie.
func (s *sessions) begin() string {
	text := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.till == nil {
		s.till = map[[32]byte]time.Time{}
	}
	if len(s.till) >= maxSessions {
		var oldest [32]byte
		for id, till := range s.till {
			if at, in := s.till[oldest]; !in || till.Before(at) {
				oldest = id
			}
		}
		delete(s.till, oldest)
	}
	s.till[sha256.Sum256([]byte(text))] = s.now().Add(sessionTime)
	return text
}

// has reports whether a cookie belongs to a session.
func (s *sessions) has(text string) bool {
	id := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	till, in := s.till[id]
	if in && s.now().After(till) {
		delete(s.till, id)
		return false
	}
	return in
}

func (s *sessions) end(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.till, sha256.Sum256([]byte(text)))
}

// standing is the authorization of a request.
type standing int

const (
	stranger standing = iota
	// guesser has sent a wrong token.
	guesser
	admitted
)

// admits returns whether a request is authorized: it has a session or the token as a bearer token, or no token
// is configured.
func (c *Console) admits(r *http.Request) standing {
	if c.opt.Token == "" {
		return admitted
	}
	if got, err := r.Cookie(c.cookie); err == nil && c.sessions.has(got.Value) {
		return admitted
	}
	all := r.Header.Values("Authorization")
	if len(all) == 0 {
		return stranger
	}
	scheme, credentials, ok := strings.Cut(all[0], " ")
	if len(all) == 1 && ok && strings.EqualFold(scheme, "Bearer") && same(c.opt.Token, strings.TrimLeft(credentials, " ")) {
		return admitted
	}
	return guesser
}

// keepOut answers a request that is not authorized.
func (c *Console) keepOut(w http.ResponseWriter, r *http.Request, who standing) {
	if who == stranger {
		c.opt.Refused(r, "auth_failed", "the request has neither a session nor console.token")
		c.fail(w, r, refusal{http.StatusUnauthorized, "auth_failed", "this needs console.token"})
		return
	}
	if c.guesses.wrong(r.RemoteAddr) {
		// Each further guess costs a connection.
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "1")
		c.opt.Refused(r, "rate_limited", "too many wrong tokens")
		c.fail(w, r, refusal{http.StatusTooManyRequests, "rate_limited", "this is not console.token, and there were too many wrong ones; wait a second"})
		return
	}
	c.opt.Refused(r, "auth_failed", "a wrong token was given")
	c.said.Warn(c.opt.Logger, "login", "somebody gave a wrong token to the console", "address", r.RemoteAddr)
	c.fail(w, r, refusal{http.StatusUnauthorized, "auth_failed", "this is not console.token"})
}

// same compares hashes, so that the time reveals neither the token nor its length.
func same(token app.Secret, given string) bool {
	want, got := sha256.Sum256([]byte(token.Reveal())), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// login exchanges the token for a session.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Token string `json:"token"`
	}
	if err := read(r, &body); err != nil {
		c.fail(w, r, err)
		return
	}
	// The token is compared first, so that guesses of others do not keep out a client with the right one.
	if c.opt.Token != "" && !same(c.opt.Token, body.Token) {
		c.keepOut(w, r, guesser)
		return
	}
	c.opt.Logger.Info("somebody logged in to the console", "address", r.RemoteAddr)
	http.SetCookie(w, c.cookieOf(r, c.sessions.begin(), int(sessionTime/time.Second)))
	answer(w, http.StatusOK, struct{}{})
}

// cookieOf returns a session cookie. Pages of other sites cannot have it sent, and scripts cannot read it. It
// has no path: browsers use the path of the API as they see it, which a proxy may have put below another one. If
// the page came over TLS, which a proxy may have ended, the cookie is sent only over TLS.
func (c *Console) cookieOf(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: c.cookie, Value: value, MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://"),
	}
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if got, err := r.Cookie(c.cookie); err == nil {
		c.sessions.end(got.Value)
	}
	http.SetCookie(w, c.cookieOf(r, "", -1))
	answer(w, http.StatusOK, struct{}{})
}

// session tells a page that it is logged in, and describes the console.
func (c *Console) session(*http.Request) (any, error) {
	return map[string]any{
		"node": c.opt.Node, "version": c.opt.Version, "apps": c.opt.Apps(), "token": c.opt.Token != "", "beside": c.opt.Beside,
	}, nil
}

// read parses the body of a request.
func read(r *http.Request, into any) error {
	body := http.MaxBytesReader(nil, r.Body, maxBody)
	in := json.NewDecoder(body)
	in.DisallowUnknownFields()
	if err := in.Decode(into); err != nil {
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrong) && wrong.Field != "":
			return invalid("the body is not what this takes: " + wrong.Field + " must be a string, not of the kind " + wrong.Value)
		case wrong != nil:
			return invalid("the body must be a JSON object")
		}
		return invalid("the body is not what this takes: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
