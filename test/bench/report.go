package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

func describeMachine() {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(info), "\n") {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	fmt.Printf("%s, %d cores, %s, %s/%s, server and clients on one machine over loopback.\n\n",
		model, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func fanoutHeader() {
	fmt.Println("| sockets | stream | variant | CPU per message | % of raw limit | rate, % of raw | messages/s | frames/write | allocs/message | p50 / p99 to last socket | bytes/message |")
	fmt.Println("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
}

// variant is one way to deliver a number of messages.
type variant struct {
	name string
	run  func(n int) (sample, error)
	n    int
	got  []sample
}

// fanout measures all variants for one number of sockets and one stream and
// prints a row for each.
func fanout(sockets int, stream string, src *source, deltas app.Delta, rounds int, period time.Duration) error {
	a, err := newArena(sockets, deltas, src)
	if err != nil {
		return err
	}
	known := !deltas.Enabled
	variants := []*variant{
		{name: "raw", run: a.rawLimit},
		{name: "window 1", run: func(n int) (sample, error) { return a.windowed(n, 1, known) }},
		{name: "saturated", run: func(n int) (sample, error) { return a.windowed(n, 16, known) }},
	}
	if err := takeTurns(variants, rounds, period); err != nil {
		return err
	}
	for _, v := range variants {
		report(sockets, stream, v, variants[0])
	}
	return a.close()
}

func report(sockets int, stream string, v, raw *variant) {
	var percent, rate, cpu, perSecond, perWrite, allocs, wire []float64
	var waits []time.Duration
	for i, s := range v.got {
		percent = append(percent, 100*raw.got[i].cpuPerMessage()/s.cpuPerMessage())
		rate = append(rate, 100*s.rate()/raw.got[i].rate())
		cpu = append(cpu, s.cpuPerMessage())
		perSecond = append(perSecond, s.rate())
		allocs = append(allocs, float64(s.allocs)/float64(s.delivered))
		wire = append(wire, float64(s.wire)/float64(s.delivered))
		if s.writes > 0 {
			perWrite = append(perWrite, float64(s.frames)/float64(s.writes))
		} else {
			perWrite = append(perWrite, 1)
		}
		waits = append(waits, s.waits...)
	}
	to := "-"
	if len(waits) > 0 {
		to = fmt.Sprintf("%.2f / %.2f ms", ms(quantile(waits, .5)), ms(quantile(waits, .99)))
	}
	p, r := spreadOf(percent), spreadOf(rate)
	fmt.Printf("| %d | %s | %s | %.0f ns | %.0f (%.0f-%.0f) | %.0f (%.0f-%.0f) | %.0f | %.2f | %.4f | %s | %.0f |\n",
		sockets, stream, v.name, spreadOf(cpu).median, p.median, p.low, p.high, r.median, r.low, r.high,
		spreadOf(perSecond).median, spreadOf(perWrite).median, spreadOf(allocs).median, to, spreadOf(wire).median)
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
