package main

import (
	"fmt"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

// versus compares this product's fan-out with that of centrifuge, each with its own clients, interleaved in
// one process.
func versus(sockets int, streamName string, deltas bool, rounds int, period time.Duration) error {
	sourceOf := func() *source {
		if streamName == "" {
			return fixed(1024)
		}
		s := streamNamed(streamName)
		return &source{event: s.Event, next: s.Next}
	}
	type corner struct {
		name    string
		arena   *arena
		windows [2]*variant
		// peer is the corner to which ratios refer.
		peer *corner
	}
	settings, speaks := app.Delta{}, "centrifuge"
	if deltas {
		s := streamNamed(streamName)
		settings = app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100, Path: s.KeyPath}
		speaks = "centrifuge-delta"
	}
	ours, err := newArena(sockets, settings, sourceOf())
	if err != nil {
		return err
	}
	p, err := startPeer(deltas)
	if err != nil {
		return err
	}
	theirs := &arena{contender: p, sockets: sockets, source: sourceOf()}
	if theirs.child, err = startChild(p.address(), sockets, benchChannel, speaks); err != nil {
		return err
	}
	if theirs.arrived, err = theirs.child.bytes(); err != nil {
		return err
	}
	a := &corner{name: "sluice", arena: ours}
	corners := []*corner{a, {name: "centrifuge", arena: theirs, peer: a}}
	var all []*variant
	for _, c := range corners {
		for i, window := range []int{1, 16} {
			v := &variant{name: c.name, run: func(n int) (sample, error) { return c.arena.windowed(n, window, false) }}
			c.windows[i] = v
			all = append(all, v)
		}
	}
	if err := takeTurns(all, rounds, period); err != nil {
		return err
	}
	label, on := streamName, "off"
	if deltas {
		on = "on"
	}
	if label == "" {
		label = "1024 B"
	}
	for _, c := range corners {
		for i, mode := range []string{"window 1", "saturated"} {
			v := c.windows[i]
			var cpus, rates, wires, ratios, faster []float64
			for round, s := range v.got {
				cpus, rates = append(cpus, s.cpuPerMessage()), append(rates, s.rate())
				wires = append(wires, float64(s.wire)/float64(s.delivered))
				if c.peer != nil {
					our := c.peer.windows[i].got[round]
					ratios = append(ratios, s.cpuPerMessage()/our.cpuPerMessage())
					faster = append(faster, our.rate()/s.rate())
				}
			}
			ratio, rate := "-", "-"
			if c.peer != nil {
				r, f := spreadOf(ratios), spreadOf(faster)
				ratio = fmt.Sprintf("%.2f (%.2f-%.2f)", r.median, r.low, r.high)
				rate = fmt.Sprintf("%.2f (%.2f-%.2f)", f.median, f.low, f.high)
			}
			fmt.Printf("| %d | %s | %s | %s | %s | %.0f ns | %s | %.0f | %s | %.0f |\n", sockets, label, on, mode, c.name,
				spreadOf(cpus).median, ratio, spreadOf(rates).median, rate, spreadOf(wires).median)
		}
	}
	for _, c := range corners {
		if err := c.arena.close(); err != nil {
			return err
		}
	}
	return nil
}

func versusHeader() {
	fmt.Println("Beside centrifuge v0.40.1, in-memory broker, JSON protocol, its defaults. A ratio above 1 says that it needs more CPU, or is slower, than sluice in the same round.")
	fmt.Println()
	fmt.Println("| sockets | stream | deltas | load | server | CPU per message | its CPU / ours | messages/s | our rate / its | bytes/message |")
	fmt.Println("| ---: | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
}
