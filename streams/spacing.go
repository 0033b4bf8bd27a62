package streams

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// apart is how far the messages of a channel lie from each other in the stream, 0 if that is not known.
type apart float64

const (
	// nearby is in how many messages of a stream each of the last ones of a channel is looked for as long as
	// nothing is known.
	nearby = 96
	// farBack is in how many messages they are looked for at once. Those of channels that need more say nothing
	// about others.
	farBack = 1 << 16
)

// back is in how many messages of the stream n messages of a channel lie, and not more than most.
func (a apart) back(n, most int) uint64 {
	if a <= 0 {
		return uint64(nearby * n)
	}
	return uint64(max(min(float64(a)*aim(n, most), farBack), float64(n)))
}

// page is how many messages of a channel are read at once.
func (a apart) page() int {
	if a <= 0 {
		return pageSize
	}
	return int(min(max(passed/max(a, 1), pageSize), widePage))
}

// next is what is expected after a channel of which n messages were wanted, and not more than most: what was
// found there if what was expected would not have found them with one reading, and otherwise something in between.
func (a apart) next(found apart, n, most int) apart {
	if found <= 0 || float64(found)*aim(n, most) > farBack {
		return a
	}
	if have := float64(a.back(n, most)) / float64(found); a <= 0 || have < float64(n) || have > float64(most) {
		return found
	}
	return a + (found-a)/4
}

const (
	// spacingAge is for how long what was read of other channels is relied on.
	spacingAge = 5 * time.Second
	// spacingPatience is for how long who finds it out is waited for.
	spacingPatience = time.Second
)

// spacing remembers how far apart messages of channels of an app lie that were read lately. If nothing is known, or
// nothing new, the first who reads goes ahead, and those who come meanwhile read when he knows: so of many channels
// whose events come about as fast, one is read twice and the others once. The zero value works. Safe for use by many
// goroutines.
type spacing struct {
	mu    rank.Mutex[rank.StreamsSpacing]
	apart apart
	// at is when it was found out last, or somebody last began to.
	at time.Time
	// ahead is closed when who goes ahead is done, nil if nobody does.
	ahead chan struct{}
}

// ask returns what is known. Who is told to go ahead calls over when he has read. The error is that of the context.
func (s *spacing) ask(ctx context.Context) (a apart, lead chan struct{}, err error) {
	a, lead, ahead := s.enter(time.Now())
	if ahead == nil {
		return a, lead, nil
	}
	late := time.NewTimer(spacingPatience)
	defer late.Stop()
	select {
	case <-ahead:
	case <-late.C:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apart, nil, nil
}

// enter returns what is known, and what to go ahead with, or who is ahead.
func (s *spacing) enter(now time.Time) (a apart, lead, ahead chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch age := now.Sub(s.at); {
	case s.ahead == nil && age >= spacingAge:
		s.ahead, s.at = make(chan struct{}), now
		return s.apart, s.ahead, nil
	case age >= spacingPatience:
		return s.apart, nil, nil
	}
	return s.apart, nil, s.ahead
}

// over lets those read who have waited for who went ahead, whatever he found.
func (s *spacing) over(lead chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead == lead {
		s.release(time.Now())
	}
}

// saw learns how far apart the messages of a channel lie of which n were wanted and up to most read.
func (s *spacing) saw(found apart, n, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart = s.apart.next(found, n, most)
	s.release(time.Now())
}

// release notes when it was found out. The lock is held.
func (s *spacing) release(now time.Time) {
	if s.at = now; s.ahead != nil {
		close(s.ahead)
		s.ahead = nil
	}
}
