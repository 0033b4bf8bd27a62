package hub

import (
	"fmt"
	"testing"
	"time"
)

// TestAPurgeThatSparesTheNewest: a purge that keeps the newest publications cannot be recognised from later
// ones.
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

// TestACheckpointThatIsReplacedWhileItIsRead: the new checkpoint contradicts the count that was replayed from
// the old one.
func TestACheckpointThatIsReplacedWhileItIsRead(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *simCluster) {
		one := s.join()
		<-one.served
		s.publishAll(repeated("a", 22)...)
		settle(time.Second)
		key, _, _ := s.bucket.checkpoint()
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

// TestABucketThatWasMadeAnew: a bucket that was deleted and created again begins at revision 1.
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
		if _, _, saved := s.bucket.checkpoint(); saved.Offset < 230 {
			t.Errorf("after 258 publications the checkpoint is of %d", saved.Offset)
		}
		if n := s.bucket.operations; n > 8 {
			t.Errorf("%d operations for 100 publications", n)
		}
	})
}

// TestABucketThatDoesNotAnswer: a bucket that does not answer costs compression only once. From then on the
// gateway counts without it.
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

// TestCheckpointsThatCannotBeWritten: failing writes of checkpoints are reported as a problem, and are not
// retried with every publication.
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

// TestAnEmptiedChannelIsCountedFromItsFirstPublication: a channel was emptied while no gateway counted. The
// next count begins at the first publication after that, although the old checkpoint still exists.
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

// TestACountWhoseAnchorIsGone: a gateway joins between a purge and the checkpoint that follows it. The
// checkpoint before the purge is of a count that no gateway continues.
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

// TestACountFromTheFirstPublicationThatWasEvicted: a count founded before the first publication can be proven
// by reading the whole log only while nothing can have been evicted.
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
