package gateway

import (
	"encoding/json"
	"net/http"
)

// health answers as long as the process lives.
func (n *Node) health(w http.ResponseWriter, r *http.Request) {
	answer(w, r, http.StatusOK, map[string]string{"status": "ok"})
}

// readiness is what /ready says.
type readiness struct {
	Ready      bool     `json:"ready"`
	Draining   bool     `json:"draining,omitempty"`
	Backend    string   `json:"backend"`
	Durability string   `json:"durability"`
	Problems   []string `json:"problems"`
	// RestartPending are settings that were changed and wait for a restart.
	RestartPending []string `json:"restart_pending,omitempty"`
}

// ready answers 200 only if publishing and subscribing are expected to work.
func (n *Node) ready(w http.ResponseWriter, r *http.Request) {
	h := n.opt.Log.Health()
	out := readiness{
		Ready: h.Ready && !n.draining.Load(), Draining: n.draining.Load(),
		Backend: h.Backend, Durability: h.Durability, Problems: append(append([]string{}, h.Problems...), n.hub.Problems()...),
	}
	if n.opt.Pending != nil {
		out.RestartPending = n.opt.Pending()
	}
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, r, status, out)
}

func answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(body)
	}
}
