package hub

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/gateway/count"
)

// TestSimulatedGatewaysAgree: gateways join and leave while publications are lost or late, the log evicts and
// is purged, checkpoints expire unseen and the clock of the log jumps. While every gateway has a way to know
// the count, all make the same decisions and no checkpoint contradicts another. No socket sees more than N-1
// deltas of a value in a row.
func TestSimulatedGatewaysAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		retained := rapid.SampledFrom([]int{100, 200}).Draw(rt, "retained")
		steps := rapid.SliceOfN(rapid.Custom(drawSimStep), 5, 60).Draw(rt, "steps")
		wrong := ""
		bubble(t, retained, func(_ *testing.T, s *simCluster) {
			<-s.join().served
			for _, step := range steps {
				s.do(step)
			}
			wrong = s.judge()
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// judge returns what is wrong once everything has arrived, or "".
func (s *simCluster) judge() string {
	s.arrive()
	if bad := s.disagreements(); bad != nil {
		return fmt.Sprintf("gateways disagree: %q", bad)
	}
	if n := s.divergences(); n != 0 {
		return fmt.Sprintf("%v checkpoints contradicted a count", n)
	}
	for _, g := range append(slices.Clone(s.gateways), s.gone...) {
		if value, n := g.longestRun(); n >= s.app.Delta.Interval {
			return fmt.Sprintf("%d deltas of %s in a row", n, value)
		}
	}
	return ""
}

// arrive delivers everything that is on its way or was lost.
func (s *simCluster) arrive() {
	for _, g := range s.gateways {
		<-g.served
		g.mu.Lock()
		g.lossy, g.late = false, false
		g.mu.Unlock()
		g.deliver()
		g.catchUp()
	}
	settle(2 * saveSpread)
}

// simStep is a step of the simulation.
type simStep struct {
	what    string
	gateway int
	wait    time.Duration
	values  []string
}

func drawSimStep(t *rapid.T) simStep {
	what := []string{"join", "join", "leave", "lose", "delay", "purge", "silence", "silence", "deafen", "skew"}
	s := simStep{what: "publish", gateway: rapid.IntRange(0, 3).Draw(t, "gateway")}
	if i := rapid.IntRange(0, 19).Draw(t, "what"); i < len(what) {
		s.what = what[i]
	}
	switch s.what {
	case "publish":
		s.values = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "b", "c", "d", "-a", "-e", "!b", "~a"}), 1, 3).Draw(t, "values")
		// Before a new count is saved, newcomers look for its beginning in the last 16 publications. The
		// waits keep more from coming in that time.
		s.wait = rapid.SampledFrom([]time.Duration{saveSpread / 4, saveSpread / 2, 2 * saveSpread, 2 * saveSpread}).Draw(t, "wait")
	case "join":
		s.wait = time.Duration(rapid.IntRange(0, 3000).Draw(t, "us")) * time.Microsecond
	case "silence":
		s.wait = rapid.SampledFrom([]time.Duration{
			time.Minute, count.TTL / 4, countIdle - time.Second, countIdle + time.Second,
			count.TTL - time.Second, count.TTL, count.TTL + time.Second, 2 * count.TTL,
		}).Draw(t, "wait")
	case "skew":
		s.wait = time.Duration(rapid.IntRange(-1, 1).Draw(t, "hours")) * time.Hour
	}
	return s
}

func (s *simCluster) do(step simStep) {
	i := step.gateway % len(s.gateways)
	g := s.gateways[i]
	switch step.what {
	case "publish":
		for _, v := range step.values {
			s.publish(v)
			s.deliver()
		}
		// A checkpoint is written some time after the publication that made it due.
		settle(step.wait)
	case "join": // while other things are in progress
		if len(s.gateways) < 4 {
			s.join()
			settle(step.wait)
		}
	case "leave":
		if len(s.gateways) > 1 {
			s.leave(i)
		}
	case "lose": // live messages, for a while
		<-g.served // a gateway that waits for its feed for more than a second sends full
		g.mu.Lock()
		g.lossy = !g.lossy
		g.mu.Unlock()
	case "delay": // live messages, for a while
		<-g.served
		g.mu.Lock()
		g.late = !g.late
		g.mu.Unlock()
	case "purge": // after every gateway has everything
		s.arrive()
		s.log.purge(0)
	case "silence": // possibly longer than checkpoints live
		s.arrive()
		settle(step.wait)
	case "deafen": // followers do not see what is written to the bucket
		s.bucket.set(func() { s.bucket.deaf = !s.bucket.deaf })
	case "skew": // the clock of another leader
		s.arrive()
		s.log.skew = step.wait
	}
}

// longestRun returns the value with the most deltas in a row, and their number.
func (g *simGateway) longestRun() (value string, most int) {
	runs := map[string]int{}
	for _, f := range g.sent {
		if runs[f.value]++; f.full {
			runs[f.value] = 0
		}
		if runs[f.value] > most {
			value, most = f.value, runs[f.value]
		}
	}
	return value, most
}
