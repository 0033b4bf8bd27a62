package gateway

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/process"
)

// public accepts any connection while there are descriptors and memory for it.
func (n *Node) public(l net.Listener) net.Listener {
	if n.opt.Descriptors == nil {
		return l
	}
	var scarce func() bool
	if n.opt.Memory != nil {
		scarce = n.opt.Memory.RefuseConnection
	}
	return n.opt.Descriptors.Listener(l, process.Public, n.refusalTo(), scarce)
}

// operators accepts connections longer than public does, and whatever memory is in use, because operators
// need them to find the cause.
func (n *Node) operators(l net.Listener) net.Listener {
	if n.opt.Descriptors == nil {
		return l
	}
	return n.opt.Descriptors.Listener(l, process.Own, process.Refusal, nil)
}

// refusals returns the reasons for which this gateway refuses clients.
func (n *Node) refusals() []string {
	var out []string
	if n.opt.Descriptors != nil {
		out = append(out, n.opt.Descriptors.Problem())
	}
	if n.opt.Memory != nil {
		out = append(out, n.opt.Memory.Problem())
	}
	if n.opt.Problems != nil {
		out = append(out, n.opt.Problems()...)
	}
	if n.opt.TLS != nil {
		out = append(out, n.opt.TLS.Missing())
	}
	said := out[:0]
	for _, p := range out {
		if p != "" {
			said = append(said, p)
		}
	}
	return said
}

// registerCapacity registers the limits of the process. The actual use is in process_open_fds,
// process_resident_memory_bytes and the metrics of the runtime.
func (n *Node) registerCapacity(at prometheus.Labels) {
	gauge := func(name, help string, read func() float64) {
		n.opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: n.opt.MetricsPrefix + name, Help: help, ConstLabels: at}, read))
	}
	refused := func(reason string, read func() uint64) {
		n.opt.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: n.opt.MetricsPrefix + "sockets_refused_total", Help: "Connections that were turned away before they said anything, and channels that were not followed, by what was short.",
			ConstLabels: prometheus.Labels{"reason": reason, "port": at["port"]},
		}, func() float64 { return float64(read()) }))
	}
	if d := n.opt.Descriptors; d != nil {
		gauge("descriptors_limit", "File descriptors that the process may have.", func() float64 { return float64(d.Limit()) })
		gauge("descriptors_public", "File descriptors that may be in use before connections are refused.", func() float64 { return float64(d.Usable(process.Public)) })
		refused("descriptors", d.Refused)
		refused("system", d.Exhausted)
	}
	if m := n.opt.Memory; m != nil {
		gauge("memory_limit_bytes", "Memory that the process may use, 0 for no limit.", func() float64 { return float64(m.Limit) })
		gauge("memory_held_bytes", "What the collector found alive when it last looked, and all stacks.", func() float64 { return float64(m.Held()) })
		refused("memory", m.Refused)
	}
}
