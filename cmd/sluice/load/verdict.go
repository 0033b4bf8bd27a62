package load

import (
	"fmt"
	"strings"
)

// Bounds beyond which numbers are not the server's alone.
const (
	// lateLeast is what may always be, and lateShare of the latency that was measured.
	lateLeast = 1.0 // ms
	lateShare = 0.1
	// fullShare of the processors means that there was none left.
	fullShare = 0.8
	busyShare = 0.95
)

// judge says whether the generator was too slow for the numbers to be the server's, and what
// else the reader should know of it. measured is the 99th percentile of what was measured, in
// ms.
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
