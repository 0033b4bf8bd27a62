package main

import (
	"fmt"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

// onOff measures whether deltas slow anything down: it sends the same stream to two hubs alternately, one
// with deltas and one without.
func onOff(sockets int, name string, rounds int, period time.Duration) error {
	var arenas [2]*arena
	var variants []*variant
	for i := range arenas {
		stream, deltas := streamNamed(name), noDeltas
		if i == 1 {
			deltas = app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100, Path: stream.KeyPath}
		}
		a, err := newArena(sockets, deltas, &source{event: stream.Event, next: stream.Next})
		if err != nil {
			return err
		}
		arenas[i] = a
	}
	loads := []string{"window 1", "saturated"}
	for _, window := range []int{1, 16} {
		for i, a := range arenas {
			variants = append(variants, &variant{name: fmt.Sprint(name, i), run: func(n int) (sample, error) { return a.windowed(n, window, false) }})
		}
	}
	if err := takeTurns(variants, rounds, period); err != nil {
		return err
	}
	for i, load := range loads {
		off, on := variants[2*i], variants[2*i+1]
		var cpus, rates, saved []float64
		for round := range rounds {
			x, y := off.got[round], on.got[round]
			cpus, rates = append(cpus, y.cpuPerMessage()/x.cpuPerMessage()), append(rates, y.rate()/x.rate())
			saved = append(saved, 100-100*(float64(y.wire)/float64(y.delivered))/(float64(x.wire)/float64(x.delivered)))
		}
		c, r := spreadOf(cpus), spreadOf(rates)
		fmt.Printf("| %d | %s | %s | %.2f (%.2f-%.2f) | %.2f (%.2f-%.2f) | %.0f %% |\n", sockets, name, load,
			c.median, c.low, c.high, r.median, r.low, r.high, spreadOf(saved).median)
	}
	for _, a := range arenas {
		if err := a.close(); err != nil {
			return err
		}
	}
	return nil
}

func onOffHeader() {
	fmt.Println("Deltas on beside off, two hubs in turns. Below 1 the CPU is less with deltas; above 1 the rate is higher.")
	fmt.Println()
	fmt.Println("| sockets | stream | load | CPU on / off | rate on / off | bytes saved |")
	fmt.Println("| ---: | --- | --- | ---: | ---: | ---: |")
}
