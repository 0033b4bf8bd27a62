package load

import (
	"fmt"
	"strings"
)

// Bounds beyond which the numbers are not those of the server alone.
const (
	// lateLeast is a lateness that is always acceptable, and lateShare an acceptable share of the measured
	// latency.
	lateLeast = 1.0 // ms
	lateShare = 0.1
	// fullShare is the share of processors from which on the generator was at its limit, and busyShare that for
	// the machine.
	fullShare = 0.8
	busyShare = 0.95
)

// judge decides whether the generator was too slow to measure the server, and returns notes. measured is the
// 99th percentile of the measured latency, in ms.
func judge(g *Generator, cores int, sameMachine bool, measured float64) (notes []string) {
	say := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	bound := max(lateLeast, lateShare*measured)
	var why []string
	if g.LateP99 > bound {
		why = append(why, fmt.Sprintf("1 %% of what was due was begun %.1f ms late or more", g.LateP99))
	}
	if g.Usage.WaitP99 > bound {
		why = append(why, fmt.Sprintf("1 %% of what came waited up to %.1f ms for a processor before it was read", g.Usage.WaitP99))
	}
	if g.Usage.Cores > fullShare*float64(cores) {
		why = append(why, fmt.Sprintf("it used %.1f of %d processors", g.Usage.Cores, cores))
	}
	if len(why) > 0 {
		g.Bottleneck = true
		say("the generator was the bottleneck: %s. The latencies are an upper bound; use more machines, or less load.", strings.Join(why, ", and "))
	}
	switch {
	case g.Usage.Machine > busyShare && sameMachine:
		say("the processors of this machine were busy for %.0f %% of the time, with the server, the generator and whatever else ran.", 100*g.Usage.Machine)
	case g.Usage.Machine > busyShare:
		say("the processors of this machine were busy for %.0f %% of the time.", 100*g.Usage.Machine)
	}
	if g.Held > 0 {
		say("the server was waited for: for %.1f s as many requests were under way as --in-flight allows. Latencies count that.", g.Held)
	}
	return notes
}
