package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
)

// bubble runs a test in a cluster whose time passes by itself.
func bubble(t *testing.T, most int, f func(t *testing.T, s *simCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSimCluster(most)
		defer s.close()
		f(t, s)
	})
}

// agree fails if gateways differ about a publication.
func (s *simCluster) agree(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff([]string(nil), s.disagreements()); diff != "" {
		t.Errorf("gateways disagree:\n%s", diff)
	}
	if n := s.divergences(); n != 0 {
		t.Errorf("%v checkpoints contradicted a count", n)
	}
}

// form is what a gateway did with each publication: F, d, or - where it had no socket.
func (g *simGateway) form(from, to uint64) string {
	var out []byte
	for o := from; o <= to; o++ {
		full, ok := g.verdicts[o]
		switch {
		case !ok:
			out = append(out, '-')
		case full:
			out = append(out, 'F')
		default:
			out = append(out, 'd')
		}
	}
	return string(out)
}

func repeated(value string, n int) []string { return slices.Repeat([]string{value}, n) }

func TestALateJoinerCountsOn(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 27)...)
		settle(time.Second)
		two := s.join()
		<-two.served
		s.publishAll(repeated("a", 10)...)
		if got := one.form(1, 37); got != "FdddFdddFdddFdddFdddFdddFdddFdddFdddF" {
			t.Errorf("got %s", got)
		}
		if got := two.form(28, 37); got != "dFdddFdddF" {
			t.Errorf("the late joiner made %s", got)
		}
		s.agree(t)
	})
}

// The log is read beyond what the feed has delivered: what comes later from the feed
// is nevertheless decided by the count.
func TestALateJoinerWhoseFeedIsBehind(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 25)...)
		settle(time.Second)
		two := s.join()
		synctest.Wait() // it has attached and reads the log
		for range 10 {
			s.publish("a")
			one.deliver()
		}
		<-two.served
		two.deliver()
		if got := two.form(26, 35); strings.Contains(got, "-") || got != one.form(26, 35) {
			t.Errorf("one made %s, two made %s", one.form(26, 35), got)
		}
		s.agree(t)
	})
}

// A checkpoint counts what the feed has not brought yet: the first subscriber waits for
// it, since of what comes before nobody here knows the count.
func TestALateJoinerWhoseFeedIsBehindTheCheckpoint(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 25)...)
		settle(time.Second)
		s.log.attaching = 50 * time.Millisecond
		two := s.join()
		synctest.Wait() // it knows its position
		for range 22 {
			s.publish("a")
			one.deliver()
		}
		one.channel.log.Lock()
		key, snapshot, revision := one.channel.log.counting.key, one.channel.log.interval.Snapshot(), one.channel.log.counting.revision
		one.channel.log.Unlock()
		if _, err := one.channel.write(key, snapshot, revision); err != nil {
			t.Fatal(err)
		}
		settle(300 * time.Millisecond)
		select {
		case <-two.served:
			t.Fatal("nobody waited for the feed")
		default:
		}
		two.deliver()
		<-two.served
		s.publishAll(repeated("a", 9)...)
		if got := two.form(48, 56); got != one.form(48, 56) {
			t.Errorf("one made %s, two made %s", one.form(48, 56), got)
		}
		s.agree(t)
	})
}

// A replica that is behind answers without the newest publications.
func TestALogReadFromAReplicaThatIsBehind(t *testing.T) {
	for _, behind := range []int{0, 1, 2, 3, 26} {
		t.Run(fmt.Sprint(behind, " behind"), func(t *testing.T) {
			bubble(t, 100, func(t *testing.T, s *simCluster) {
				one := s.join()
				<-one.served
				s.publishAll(repeated("a", 20)...)
				settle(time.Second)
				s.publishAll(repeated("a", 6)...)
				s.log.fallBehind(behind)
				two := s.join()
				<-two.served
				// One that seems to be empty cannot be told from a channel
				// that was emptied, until something has come.
				s.publishAll("a")
				settle(time.Second)
				s.publishAll(repeated("a", 10)...)
				from := uint64(27)
				if behind == 26 {
					from++
				}
				if got := two.form(from, 37); got != one.form(from, 37) {
					t.Errorf("one made %s, two made %s", one.form(from, 37), got)
				}
				if n := s.divergences(); n != 0 {
					t.Errorf("%v checkpoints contradicted a count", n)
				}
			})
		})
	}
}

// The first gateway on a channel that has a past founds the count; it must be the count
// of others who read more of that past.
func TestACountFoundedOnAReplicaThatIsBehind(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		for range 6 {
			s.publish("a")
		}
		s.log.fallBehind(2)
		one := s.join()
		<-one.served
		s.publishAll("a")
		two := s.join()
		<-two.served
		s.publishAll(repeated("a", 10)...)
		if got := two.form(8, 17); one.form(7, 7) != "d" || got != one.form(8, 17) {
			t.Errorf("one made %s, two made %s", one.form(8, 17), got)
		}
		if n := s.divergences(); n != 0 {
			t.Errorf("%v checkpoints contradicted a count", n)
		}
	})
}

// The log begins a new life while a gateway attaches.
func TestAnEpochThatChangesWhileAttaching(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		synctest.Wait() // it has attached
		one.sink.Gap(broker.Gap{
			After: broker.Position{Epoch: "e"}, Resume: broker.Position{Epoch: "f"}, Reason: broker.GapEpoch,
		})
		s.log.begin("f")
		<-one.served
		settle(time.Second)
		two := s.join()
		<-two.served
		s.publishAll(repeated("a", 25)...)
		settle(time.Second)
		for _, g := range s.gateways {
			g.channel.log.Lock()
			if got := g.channel.log.counting.epoch; got != "f" {
				t.Errorf("counts of the epoch %q are kept, want those of f", got)
			}
			g.channel.log.Unlock()
		}
		s.agree(t)
	})
}

// A gateway that has counted from an old checkpoint writes a new one before that
// expires.
func TestACountThatWasReplayedIsSavedBeforeItsCheckpointExpires(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 20)...)
		settle(time.Second) // The checkpoint is of now.
		s.leave(0)
		settle(140 * time.Second)
		s.publishAll("a", "a")
		settle(140 * time.Second)
		s.publishAll("a")
		settle(CounterTTL - 282*time.Second) // It has a second to live.
		two := s.join()
		<-two.served
		settle(10 * time.Second)
		three := s.join()
		<-three.served
		s.publishAll(repeated("a", 9)...)
		if got := two.form(24, 32); got != three.form(24, 32) {
			t.Errorf("two made %s, three made %s", two.form(24, 32), three.form(24, 32))
		}
		s.agree(t)
	})
}

// After a silence that no checkpoint survives, all begin anew without a contradiction,
// also who did not hear that somebody did.
func TestACountThatExpired(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		bubble(t, 100, func(t *testing.T, s *simCluster) {
			one := s.join()
			<-one.served
			s.publishAll(repeated("a", 22)...)
			settle(2 * CounterTTL)
			s.bucket.set(func() { s.bucket.deaf = deaf })
			two := s.join()
			<-two.served
			s.publishAll(repeated("a", 9)...)
			if got := one.form(23, 31); got != "FdddFdddF" || got != two.form(23, 31) {
				t.Errorf("one made %s, two made %s", got, two.form(23, 31))
			}
			s.agree(t)
		})
	}
}

// The first publication after such a silence makes a count that a newcomer must find,
// in the bucket or, before it is there, in the log.
func TestACountThatBeganAnew(t *testing.T) {
	for _, wait := range []time.Duration{0, 2 * saveSpread} {
		bubble(t, 100, func(t *testing.T, s *simCluster) {
			one := s.join()
			<-one.served
			s.publishAll(repeated("a", 22)...)
			settle(2 * CounterTTL)
			s.publishAll("a")
			settle(wait)
			two := s.join()
			<-two.served
			s.publishAll(repeated("a", 9)...)
			if got := two.form(24, 32); got != "dddFdddFd" || got != one.form(24, 32) {
				t.Errorf("one made %s, two made %s", one.form(24, 32), got)
			}
			s.agree(t)
		})
	}
}

// A channel is served for longer than checkpoints live before its first publication,
// and a newcomer finds that earlier than those who wait for it.
func TestACountOfAYoungChannel(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		settle(2 * CounterTTL)
		for range 3 {
			s.publish("a")
		}
		two := s.join()
		<-two.served
		s.deliver()
		s.publishAll(repeated("a", 9)...)
		if got := two.form(4, 12); got != "dFdddFddd" || got != one.form(4, 12) {
			t.Errorf("one made %s, two made %s", one.form(4, 12), got)
		}
		s.agree(t)
	})
}

// A channel was emptied while nobody counted: the first who does is the one to count on
// from, although the old checkpoint is still there.
func TestAnEmptiedChannelIsCountedFromItsFirstPublication(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		zero := s.join()
		<-zero.served
		s.publishAll(repeated("a", 22)...)
		settle(time.Second)
		s.leave(0)
		s.log.purge(0)
		one := s.join()
		<-one.served
		s.publishAll("a", "a")
		settle(time.Second)
		two := s.join()
		<-two.served
		s.publishAll(repeated("a", 9)...)
		if got := two.form(25, 33); got != one.form(25, 33) {
			t.Errorf("one made %s, two made %s", one.form(25, 33), got)
		}
		s.agree(t)
	})
}

// Somebody comes between a purge and the checkpoint that follows it: the one before it
// counts what nobody counts any more.
func TestACountWhoseAnchorIsGone(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 21)...)
		settle(time.Second)
		s.log.purge(0)
		s.publishAll("a")
		two := s.join()
		<-two.served
		s.publishAll(repeated("a", 9)...)
		if got := two.form(23, 31); got != "dddFdddFd" || got != one.form(23, 31) {
			t.Errorf("one made %s, two made %s", one.form(23, 31), got)
		}
		s.agree(t)
	})
}

// A count that was founded before the first publication is proven by reading all of
// the log only as long as nothing can have been evicted.
func TestACountFromTheFirstPublicationThatWasEvicted(t *testing.T) {
	bubble(t, 8, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.bucket.set(func() { s.bucket.down = true })
		s.publishAll(repeated("a", 9)...)
		settle(time.Second)
		s.bucket.set(func() { s.bucket.down = false })
		two := s.join()
		<-two.served
		settle(time.Second)
		s.publishAll(repeated("a", 9)...)
		if got := two.form(10, 18); got != one.form(10, 18) {
			t.Errorf("one made %s, two made %s", one.form(10, 18), got)
		}
	})
}

// A purge that spares the newest publications shows in no later one.
func TestAPurgeThatSparesTheNewest(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 3)...)
		settle(time.Second)
		s.log.purge(1)
		two := s.join()
		<-two.served
		settle(time.Second)
		s.publishAll(repeated("a", 9)...)
		if got := two.form(4, 12); got != one.form(4, 12) {
			t.Errorf("one made %s, two made %s", one.form(4, 12), got)
		}
	})
}

// A checkpoint that is replaced while it is replayed contradicts what was made of it.
func TestACheckpointThatIsReplacedWhileItIsRead(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 22)...)
		settle(time.Second)
		key := one.channel.log.counting.key
		s.bucket.set(func() {
			s.bucket.after = func() {
				p := s.log.from(22, 0)[0]
				value := fmt.Sprintf(`{"s":22,"t":%q,"n":4,"m":3,"k":[],"c":[]}`, p.Time.Format(time.RFC3339Nano))
				if _, err := s.bucket.write(t.Context(), key, []byte(value), s.bucket.entries[key].Revision); err != nil {
					t.Error(err)
				}
			}
		})
		two := s.join()
		<-two.served
		settle(time.Second)
		s.publishAll(repeated("a", 9)...)
		if one.form(23, 31) != "FdddFdddF" || two.form(23, 31) != "FdddFdddF" {
			t.Errorf("one made %s, two made %s", one.form(23, 31), two.form(23, 31))
		}
	})
}

// A bucket that was made anew begins with revision 1 again.
func TestABucketThatWasMadeAnew(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		for range 7 {
			s.publishAll(repeated("a", 17)...)
			settle(time.Second)
		}
		s.bucket.set(func() { clear(s.bucket.entries); s.bucket.revision = 0 })
		two := s.join()
		<-two.served
		for range 3 {
			s.publishAll(repeated("a", 10)...)
			settle(10 * time.Second)
		}
		s.publishAll(repeated("a", 9)...)
		if got := two.form(150, 158); got != one.form(150, 158) {
			t.Errorf("one made %s, two made %s", one.form(150, 158), got)
		}
		s.leave(1)
		s.bucket.set(func() { s.bucket.operations = 0 })
		for range 5 {
			s.publishAll(repeated("a", 20)...)
			settle(10 * time.Second)
		}
		if saved := one.channel.log.counting.saved; saved < 230 {
			t.Errorf("after 258 publications the checkpoint is of %d", saved)
		}
		if n := s.bucket.operations; n > 8 {
			t.Errorf("%d operations for 100 publications", n)
		}
	})
}

// A bucket that does not answer costs compression only once: from then on the gateway
// counts by itself.
func TestABucketThatDoesNotAnswer(t *testing.T) {
	bubble(t, 1000, func(t *testing.T, s *simCluster) {
		s.bucket.set(func() { s.bucket.hung = true })
		one := s.join()
		<-one.served
		for range 400 {
			s.publishAll("a")
			settle(50 * time.Millisecond)
		}
		fulls := 0
		for _, full := range one.verdicts {
			if full {
				fulls++
			}
		}
		if fulls < 100 || fulls > 110 {
			t.Errorf("%d of 400 are full, want a fourth", fulls)
		}
		if len(one.hub.Problems()) == 0 {
			t.Error("nobody is told")
		}
		s.bucket.set(func() { s.bucket.hung = false })
		settle(20 * time.Second)
		if got := one.hub.Problems(); len(got) > 0 {
			t.Errorf("after the outage: %v", got)
		}
	})
}

// Checkpoints that cannot be written are told, and are not tried with every publication.
func TestCheckpointsThatCannotBeWritten(t *testing.T) {
	bubble(t, 1000, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll("a")
		s.bucket.set(func() { s.bucket.down, s.bucket.operations = true, 0 })
		for range 500 {
			s.publishAll("a")
			settle(40 * time.Millisecond)
		}
		if n := s.bucket.operations; n > 50 {
			t.Errorf("%d operations in 20 seconds of an outage", n)
		}
		if len(one.hub.Problems()) == 0 {
			t.Error("nobody is told")
		}
		s.bucket.set(func() { s.bucket.down = false })
		settle(10 * time.Second)
		if got := one.hub.Problems(); len(got) > 0 {
			t.Errorf("after the outage: %v", got)
		}
		two := s.join()
		<-two.served
		s.publishAll(repeated("a", 9)...)
		s.agree(t)
	})
}

// Gateways come and go while publications are lost or late, the log evicts and is purged,
// checkpoints expire unheard and the clock of the log jumps. Where nobody is left
// without a way to know the count, all decide alike and no checkpoint contradicts
// another; and no socket sees more than N-1 deltas of a value in a row.
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

// judge says what is wrong once everything has arrived.
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

// arrive lets everything that is on its way or was lost arrive.
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

// simStep is something that happens to the cluster.
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
		s.values = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "b", "c", "d"}), 1, 3).Draw(t, "values")
		// Before a count that begins is saved, newcomers look for its begin in
		// the last 16 publications. More cannot come in that time.
		s.wait = rapid.SampledFrom([]time.Duration{saveSpread / 4, saveSpread / 2, 2 * saveSpread, 2 * saveSpread}).Draw(t, "wait")
	case "join":
		s.wait = time.Duration(rapid.IntRange(0, 3000).Draw(t, "us")) * time.Microsecond
	case "silence":
		s.wait = rapid.SampledFrom([]time.Duration{
			time.Minute, CounterTTL / 4, counterIdle - time.Second, counterIdle + time.Second,
			CounterTTL - time.Second, CounterTTL, CounterTTL + time.Second, 2 * CounterTTL,
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
		// A checkpoint follows what made it due, but not at once.
		settle(step.wait)
	case "join": // in the middle of things
		if len(s.gateways) < 4 {
			s.join()
			settle(step.wait)
		}
	case "leave":
		if len(s.gateways) > 1 {
			s.leave(i)
		}
	case "lose": // live messages, for a while
		<-g.served // who waits for the feed in vain for a second sends full
		g.mu.Lock()
		g.lossy = !g.lossy
		g.mu.Unlock()
	case "delay": // live messages, for a while
		<-g.served
		g.mu.Lock()
		g.late = !g.late
		g.mu.Unlock()
	case "purge": // after everybody had everything
		s.arrive()
		s.log.purge(0)
	case "silence": // perhaps longer than checkpoints live
		s.arrive()
		settle(step.wait)
	case "deafen": // what is written to the bucket is not heard
		s.bucket.set(func() { s.bucket.deaf = !s.bucket.deaf })
	case "skew": // another leader's clock
		s.arrive()
		s.log.skew = step.wait
	}
}

// longestRun returns the value of which most deltas followed each other.
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
