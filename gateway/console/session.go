package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

const (
	// cookie is the name of the session's.
	cookie = "sluice_console"
	// sessionTime is how long somebody stays logged in, and maxSessions how many may be; beyond
	// that the oldest ends.
	sessionTime = 12 * time.Hour
	maxSessions = 64
	// loginRate is how many attempts there may be in a second, of everybody together.
	loginRate = 5
	// maxBody bounds the body of a request.
	maxBody = 4 << 10
)

// sessions are those who are logged in, by the sum of what their cookie has, so that comparing
// tells nothing. They end with the process.
type sessions struct {
	now func() time.Time

	mu   sync.Mutex
	till map[[32]byte]time.Time
	// tries are the attempts in the second that began then.
	tries int
	began time.Time
}

// mayTry counts an attempt to log in.
func (s *sessions) mayTry() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.began) >= time.Second || now.Before(s.began) {
		s.began, s.tries = now, 0
	}
	s.tries++
	return s.tries <= loginRate
}

// begin makes a session and returns what its cookie has.
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

// has tells whether a cookie is that of a session.
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

// admits tells whether a request may be answered: it has a session, or the token as a bearer, or
// there is no token.
func (c *Console) admits(r *http.Request) bool {
	if c.opt.Token == "" {
		return true
	}
	if got, err := r.Cookie(cookie); err == nil && c.sessions.has(got.Value) {
		return true
	}
	all := r.Header.Values("Authorization")
	if len(all) != 1 {
		return false
	}
	scheme, credentials, ok := strings.Cut(all[0], " ")
	return ok && strings.EqualFold(scheme, "Bearer") && same(c.opt.Token, strings.TrimLeft(credentials, " "))
}

// same compares sums, so that the time tells neither the token nor its length.
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
	if !c.sessions.mayTry() {
		c.opt.Refused(r, "rate_limited", "too many attempts to log in")
		c.fail(w, r, refusal{http.StatusTooManyRequests, "rate_limited", "too many attempts to log in; wait a second"})
		return
	}
	if c.opt.Token != "" && !same(c.opt.Token, body.Token) {
		c.opt.Refused(r, "auth_failed", "a wrong token was given")
		c.said.Warn(c.opt.Logger, "login", "somebody gave a wrong token to the console", "address", r.RemoteAddr)
		c.fail(w, r, refusal{http.StatusUnauthorized, "auth_failed", "this is not console.token"})
		return
	}
	c.opt.Logger.Info("somebody logged in to the console", "address", r.RemoteAddr)
	http.SetCookie(w, c.cookieOf(r, c.sessions.begin(), int(sessionTime/time.Second)))
	answer(w, http.StatusOK, struct{}{})
}

// cookieOf is the cookie of a session. Pages of other sites cannot have it sent, and scripts
// cannot read it.
func (c *Console) cookieOf(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookie, Value: value, Path: strings.TrimSuffix(Root, "api/"), MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if got, err := r.Cookie(cookie); err == nil {
		c.sessions.end(got.Value)
	}
	http.SetCookie(w, c.cookieOf(r, "", -1))
	answer(w, http.StatusOK, struct{}{})
}

// session tells a page that it is logged in, and what it is about.
func (c *Console) session(*http.Request) (any, error) {
	return map[string]any{
		"node": c.opt.Node, "version": c.opt.Version, "apps": c.opt.Apps(), "token": c.opt.Token != "", "beside": c.opt.Beside,
	}, nil
}

// read reads the body of a request.
func read(r *http.Request, into any) error {
	body := http.MaxBytesReader(nil, r.Body, maxBody)
	in := json.NewDecoder(body)
	in.DisallowUnknownFields()
	if err := in.Decode(into); err != nil {
		return invalid("the body is not what this takes: " + err.Error())
	}
	return nil
}
