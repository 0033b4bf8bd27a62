package gateway

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/rest"
)

// openREST creates the HTTP API, which publishes through an intake.
func (n *Node) openREST(in *intake, port string) {
	opt := &n.opt
	r := rest.Options{
		Apps: opt.Apps, Log: in, History: opt.Log, AllowUnsigned: n.allowUnsigned, Refuse: n.refusal,
		Node: opt.Name, MaxBody: opt.MaxBody, MaxBodies: opt.MaxBodies, BodyTimeout: opt.BodyTimeout, AnswerTimeout: opt.AnswerTimeout,
		PublishTimeout: opt.PublishTimeout, CacheTTL: opt.Hub.CacheTTL, LogTime: opt.Log.Now,
		Tracer: opt.Tracer, Observe: n.http.observe, Refused: n.http.refuse, Limited: n.opt.Hub.Metrics.Limited, Terminate: n.hub.Terminate, Logger: opt.Logger,
	}
	if n.lives != nil {
		r.Eraser = n.lives
	}
	if n.roster != nil {
		r.Census = census{n.roster}
	}
	api := rest.New(r)
	n.rest = api
	opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: opt.MetricsPrefix + "http_body_bytes", Help: "Bytes of bodies of requests that are being read or handled.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() float64 { return float64(api.BodyBytes()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: opt.MetricsPrefix + "http_answer_bytes", Help: "Bytes of large answers that wait for their readers.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() float64 { return float64(api.AnswerBytes()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: opt.MetricsPrefix + "http_lists_waiting", Help: "Requests that wait for a list of channels or users.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() float64 { return float64(api.ListsWaiting()) }))
}

// page makes a page of history that a connection has requested.
func (n *Node) page(ctx context.Context, want hub.PageRequest) ([]byte, error) {
	return n.rest.Page(ctx, rest.Asked(want))
}
