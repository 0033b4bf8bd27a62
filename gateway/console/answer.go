package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sluicehq/sluice/broker"
)

// refusal is an error that is answered with its status, code and text.
type refusal struct {
	status     int
	code, text string
}

func (r refusal) Error() string { return r.text }

// busy is the answer to requests beyond the limit of concurrent ones.
var busy = refusal{http.StatusServiceUnavailable, "busy", "too many requests of the console are under way; try again"}

func invalid(text string) error { return refusal{http.StatusBadRequest, "invalid_request", text} }

// harden sets the headers that keep other pages from reading or embedding answers.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}

// crossSite returns why a request that changes something may come from a page of another site, "" if it cannot.
// Such a page can neither choose these headers nor send JSON without a preflight request.
func crossSite(r *http.Request) string {
	if r.Header.Get("Content-Type") != "application/json" {
		return "the Content-Type must be application/json"
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return "a page of another site has sent this request"
	}
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		u, err := url.Parse(origins[0])
		if len(origins) > 1 || err != nil || u.Host != r.Host {
			return fmt.Sprintf("Origin is %.100q and Host is %.100q: a page of another site has sent this request, or a proxy does not forward Host as it is", origins[0], r.Host)
		}
	}
	return ""
}

func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	var no refusal
	switch {
	case errors.As(err, &no):
	case errors.Is(err, broker.ErrUnavailable), r.Context().Err() == nil && errors.Is(err, errTimeout):
		no = refusal{http.StatusServiceUnavailable, "unavailable", "the log or the table of the cluster cannot be read: " + err.Error()}
	default:
		no = refusal{http.StatusInternalServerError, "internal", "this cannot be answered: " + err.Error()}
	}
	if no.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="console"`)
	}
	if no.status == http.StatusServiceUnavailable || no.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, no.status, map[string]string{"code": no.code, "error": no.text})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error means that the client has gone.
	_ = json.NewEncoder(w).Encode(body)
}
