package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/rest"
)

// health answers as long as the process lives.
func (n *Node) health(w http.ResponseWriter, r *http.Request) {
	if !n.reads(w, r) {
		return
	}
	answer(w, r, http.StatusOK, map[string]string{"status": "ok"})
}

// up is the health of one app, at a path by which other servers of the protocol are asked.
func (n *Node) up(w http.ResponseWriter, r *http.Request, id string) {
	if a := n.opt.Apps.ByID(id); a == nil || !a.Enabled {
		rest.NotFound(w, r)
		return
	}
	n.health(w, r)
}

// readiness is what /ready says.
type readiness struct {
	Ready      bool     `json:"ready"`
	Draining   bool     `json:"draining,omitempty"`
	Backend    string   `json:"backend"`
	Durability string   `json:"durability"`
	Level      string   `json:"durability_level"`
	Problems   []string `json:"problems"`
	// RestartPending are settings that were changed and wait for a restart.
	RestartPending []string `json:"restart_pending,omitempty"`
	// SettingsDiffer are settings that other gateways have otherwise.
	SettingsDiffer []string `json:"settings_differ,omitempty"`
}

// problems are those of the log and of what is built on it.
func (n *Node) problems() []string { return n.problemsWith(n.opt.Log.Health()) }

// problemsWith completes those of the log. Asked a second time it may say something else.
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

// ready answers 200 only if publishing and subscribing are expected to work for some app.
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

// reads says whether a request only reads, and refuses one that does not. A probe that asks by another method is
// set up wrong, and must not be taken for one that was answered.
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
