package rest_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// asks sends a request that is signed for a method other than its own, if signed differs.
func (r *rig) asks(method, signed, path, more string) (*http.Response, string) {
	r.t.Helper()
	query, err := url.ParseQuery(more)
	if err != nil {
		r.t.Fatal(err)
	}
	query.Set("auth_key", "app-key")
	query.Set("auth_timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	query.Set("auth_version", "1.0")
	query.Set("auth_signature", pusher.SignRequest("app-secret", signed, path, query))
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(text)
}

// TestRun17HeadIsGetWithoutABody: every GET path accepts HEAD and answers the same without a body. Other
// paths refuse HEAD like any wrong method.
func TestRun17HeadIsGetWithoutABody(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	r.publish(`{"name":"n","channel":"c","data":"x"}`)
	type question struct{ path, query string }
	var all []question
	for _, e := range rest.Endpoints() {
		path := strings.NewReplacer("{app_id}", "app", "{channel}", "c", "{user_id}", "u").Replace(e.Path)
		if e.Method != http.MethodGet {
			resp, text := r.asks(http.MethodHead, http.MethodHead, path, "")
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != e.Method || text != "" {
				t.Errorf("HEAD %s: %d, Allow %q, %q", path, resp.StatusCode, resp.Header.Get("Allow"), text)
			}
			continue
		}
		all = append(all, question{path, ""}, question{path, "no_such_parameter=1"})
	}
	all = append(all, question{"/apps/app/channels/c/history", "format=ndjson"}, question{"/apps/app/channels/presence-c/users", ""})
	good := 0
	for _, q := range all {
		want, body := r.asks(http.MethodGet, http.MethodGet, q.path, q.query)
		if body == "" {
			t.Errorf("GET %s?%s: no body", q.path, q.query)
		}
		if want.StatusCode == http.StatusOK {
			good++
		}
		// Clients sign the method that they send, but a proxy may have turned GET into HEAD.
		for _, signed := range []string{http.MethodHead, http.MethodGet} {
			got, text := r.asks(http.MethodHead, signed, q.path, q.query)
			if got.StatusCode != want.StatusCode || got.Header.Get("Content-Type") != want.Header.Get("Content-Type") || text != "" {
				t.Errorf("HEAD %s?%s, signed for %s: %d %q %q, want %d %q", q.path, q.query, signed, got.StatusCode, got.Header.Get("Content-Type"), text,
					want.StatusCode, want.Header.Get("Content-Type"))
			}
		}
		if got, _ := r.asks(http.MethodHead, http.MethodPost, q.path, q.query); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("HEAD %s, signed for POST: %d", q.path, got.StatusCode)
		}
		// A signature for HEAD must not give access to the body.
		if got, _ := r.asks(http.MethodGet, http.MethodHead, q.path, q.query); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("GET %s, signed for HEAD: %d", q.path, got.StatusCode)
		}
	}
	if good < 6 {
		t.Errorf("only %d requests were answered with 200", good)
	}
}
