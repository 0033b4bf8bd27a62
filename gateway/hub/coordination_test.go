package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/count"
)

// bubble runs a test with a cluster in a synctest bubble.
func bubble(t *testing.T, most int, f func(t *testing.T, s *simCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSimCluster(most)
		defer s.close()
		f(t, s)
	})
}

// agree fails the test if gateways sent a publication in different forms.
func (s *simCluster) agree(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff([]string(nil), s.disagreements()); diff != "" {
		t.Errorf("gateways disagree:\n%s", diff)
	}
	if n := s.divergences(); n != 0 {
		t.Errorf("%v checkpoints contradicted a count", n)
	}
}

// form returns one letter for each publication: F for full, d for delta, - if the gateway had no socket.
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

// TestALateJoinerWhoseFeedIsBehind: the log is read further than the feed has delivered. The count decides on
// later deliveries all the same.
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

// TestALateJoinerWhoseFeedIsBehindTheCheckpoint: a checkpoint includes publications that the feed has not
// delivered. The first subscriber waits for them, since this gateway does not know the count before the
// checkpoint.
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
		key, revision, _ := s.bucket.checkpoint()
		iv := count.NewInterval(s.app.Delta.Interval, s.app.Delta.MaxKeys, countIdle)
		for i, p := range s.log.from(0, 0) {
			iv.Step(p.Offset, uint64(i), p.Time, true, p.ConflationKey)
		}
		value, err := json.Marshal(iv.Snapshot())
		if err == nil {
			_, err = s.bucket.write(t.Context(), key, value, revision)
		}
		if err != nil {
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

// TestALogReadFromAReplicaThatIsBehind: a replica that is behind answers without the newest publications.
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
				// A replica that seems to be empty cannot be told from an emptied channel until a publication
				// has come.
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

// TestACountFoundedOnAReplicaThatIsBehind: the first gateway of a channel with history founds the count. It
// must equal the count of gateways that read more of the history.
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

// TestAnEpochThatChangesWhileAttaching: the log begins a new epoch while a gateway attaches.
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
		followed := 0
		for _, f := range s.bucket.followers {
			if followed++; !strings.HasSuffix(f.key, ".f") {
				t.Errorf("counts of %q are kept, want those of the epoch f", f.key)
			}
		}
		if followed != len(s.gateways) {
			t.Errorf("%d follow, want %d", followed, len(s.gateways))
		}
		s.agree(t)
	})
}

// TestACountThatWasReplayedIsSavedBeforeItsCheckpointExpires: a gateway that replayed from an old checkpoint
// writes a new one before the old one expires.
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
		settle(count.TTL - 282*time.Second) // It has a second to live.
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

// TestACountThatExpired: after a silence longer than the life of a checkpoint, all gateways begin a new count
// without a contradiction, even one that did not see another one's checkpoint.
func TestACountThatExpired(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		bubble(t, 100, func(t *testing.T, s *simCluster) {
			one := s.join()
			<-one.served
			s.publishAll(repeated("a", 22)...)
			settle(2 * count.TTL)
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

// TestACountThatBeganAnew: the first publication after such a silence founds a count that a newcomer must
// find, in the bucket or, before it is written there, in the log.
func TestACountThatBeganAnew(t *testing.T) {
	for _, wait := range []time.Duration{0, 2 * saveSpread} {
		bubble(t, 100, func(t *testing.T, s *simCluster) {
			one := s.join()
			<-one.served
			s.publishAll(repeated("a", 22)...)
			settle(2 * count.TTL)
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

// TestACountOfAnAppThatKeepsLess: an app may retain fewer publications than others, from the start or after a
// reload. Its retained publications must include a checkpoint, or every gateway that joins begins its own
// count.
func TestACountOfAnAppThatKeepsLess(t *testing.T) {
	for _, reloaded := range []bool{false, true} {
		bubble(t, 8, func(t *testing.T, s *simCluster) {
			if reloaded {
				s.app.RetainedMessages, s.log.most = 1000, 1000
			}
			one := s.join()
			<-one.served
			s.publishAll(repeated("a", 5)...)
			if reloaded {
				s.log.most, s.app.RetainedMessages = 8, 8
				one.hub.opt.Apps.Replace(s.app)
				one.hub.Apply(t.Context())
			}
			for range 13 {
				settle(time.Second)
				s.publishAll("a")
			}
			settle(time.Second)
			two := s.join()
			<-two.served
			s.publishAll(repeated("a", 9)...)
			if got := two.form(19, 27); strings.Contains(got, "-") || got != one.form(19, 27) {
				t.Errorf("one made %s, two made %s", one.form(19, 27), got)
			}
			s.agree(t)
		})
	}
}

// TestACountOfAYoungChannel: a channel is served for longer than checkpoints live before its first
// publication, and a newcomer reads that publication before the feed delivers it to the others.
func TestACountOfAYoungChannel(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		settle(2 * count.TTL)
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
