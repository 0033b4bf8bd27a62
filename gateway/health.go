package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/rest"
)

// health answers 200 as long as the process runs.
func (n *Node) health(w http.ResponseWriter, r *http.Request) {
	if !n.reads(w, r) {
		return
	}
	answer(w, r, http.StatusOK, map[string]string{"status": "ok"})
}

// up is the health of one app. It is served at a path that other servers of the protocol have.
func (n *Node) up(w http.ResponseWriter, r *http.Request, id string) {
	if a := n.opt.Apps.ByID(id); a == nil || !a.Enabled {
		rest.NotFound(w, r)
		return
	}
	n.health(w, r)
}

// readiness is the answer of /ready.
type readiness struct {
	Ready      bool     `json:"ready"`
	Draining   bool     `json:"draining,omitempty"`
	Backend    string   `json:"backend"`
	Durability string   `json:"durability"`
	Level      string   `json:"durability_level"`
	Problems   []string `json:"problems"`
	// RestartPending lists settings that were changed and take effect only after a restart.
	RestartPending []string `json:"restart_pending,omitempty"`
	// SettingsDiffer lists settings that differ on other gateways.
	SettingsDiffer []string `json:"settings_differ,omitempty"`
}

// problems returns the problems of the log and of what is built on it.
func (n *Node) problems() []string { return n.problemsWith(n.opt.Log.Health()) }

// problemsWith adds to the problems in h, which the caller has read. Reading them again might give another
// answer.
func (n *Node) problemsWith(h broker.Health) []string {
	out := append([]string{}, h.Problems...)
	if n.opt.Notes != nil {
		out = append(out, n.opt.Notes()...)
	}
	if n.lives != nil {
		out = append(out, n.lives.Problems()...)
	}
	if told := n.serving.Load(); told != nil {
		out = append(out, told.Problems()...)
	}
	if n.opt.TLS != nil {
		out = append(out, n.opt.TLS.Problems()...)
	}
	return out
}

// ready answers 200 only if publishing and subscribing are expected to work for at least one app.
func (n *Node) ready(w http.ResponseWriter, r *http.Request) {
	if !n.reads(w, r) {
		return
	}
	h := n.opt.Log.Health()
	refusals := n.refusals()
	out := readiness{
		Ready: h.Ready && len(refusals) == 0 && !n.draining.Load(), Draining: n.draining.Load(),
		Backend: h.Backend, Durability: h.Durability, Level: string(h.Level), Problems: append(n.problemsWith(h), refusals...),
	}
	out.SettingsDiffer = n.agreement.Notes()
	if n.opt.Pending != nil {
		out.RestartPending = n.opt.Pending()
	}
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, r, status, out)
}

// reads reports whether a request is a GET or HEAD, and answers others with an error. A probe with another
// method is configured wrongly, and a success would hide that.
func (n *Node) reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	n.turnedAway(r, "health", "method_not_allowed", fmt.Sprintf("%.100q is for GET", r.URL.Path))
	rest.NotAllowed(w, r, "GET, HEAD")
	return false
}

func answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(body)
	}
}
