package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// endsOf is a log that answers where channels end: a message's size is the number in it. Each answer takes a
// time.
type endsOf struct {
	mu    sync.Mutex
	ends  map[string]uint64
	upTo  uint64
	takes time.Duration
	// named limits the channels in an answer to a request for several, 0 for no limit.
	named int
	fails error
	// asked holds the subjects of every request. givenUp counts the requests whose context ended.
	asked   [][]string
	givenUp int
}

func (e *endsOf) put(subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.upTo++
	e.ends[subject] = e.upTo
}

func (e *endsOf) of(subject string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ends[subject]
}

// wait waits for the time of an answer, and returns it.
func (e *endsOf) wait(ctx context.Context, subjects ...string) (out tipsAnswer, err error) {
	e.mu.Lock()
	e.asked = append(e.asked, subjects)
	takes := e.takes
	e.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		e.mu.Lock()
		e.givenUp++
		e.mu.Unlock()
		return out, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return out, e.fails
	}
	out.upTo, out.whole = e.upTo, true
	for _, s := range subjects {
		if e.ends[s] > 0 {
			out.places = append(out.places, place{subject: s, offset: e.ends[s]})
		}
	}
	if len(subjects) > 1 && e.named > 0 && len(out.places) > e.named {
		out.places, out.whole = out.places[:e.named], false
	}
	return out, nil
}

func (e *endsOf) newest(ctx context.Context, _, subject string) (stored, bool, error) {
	got, err := e.wait(ctx, subject)
	if err != nil || len(got.places) == 0 {
		return stored{}, false, err
	}
	return stored{place: got.places[0]}, true, nil
}

func (e *endsOf) tips(ctx context.Context, _ string, subjects []string) (tipsAnswer, error) {
	return e.wait(ctx, subjects...)
}

// sizes returns the number of channels of each request.
func (e *endsOf) sizes() (all []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.asked {
		all = append(all, len(s))
	}
	return all
}

// askers sends n requests at once, the first one slightly earlier, and returns when all have their answers.
func askers(ctx context.Context, t *testing.T, ends *tips, log *endsOf, n int, check func(i int, p place, found bool, err error)) {
	t.Helper()
	var asking sync.WaitGroup
	for i := range n {
		asking.Go(func() {
			p, found, err := ends.find(ctx, log, "s", fmt.Sprint("c", i))
			check(i, p, found, err)
		})
		if i == 0 {
			synctest.Wait()
		}
	}
	asking.Wait()
}

// TestTime04EndsAreAskedForTogether: before, fifty channels that were attached at once were each looked up in
// the log by a request of their own.
func TestTime04EndsAreAskedForTogether(t *testing.T) {
	for _, c := range []struct {
		name  string
		n     int
		named int
		want  []int
	}{
		{"one alone", 1, 0, []int{1}},
		{"two", 2, 0, []int{1, 1}},
		{"fifty", 50, 0, []int{1, 49}},
		{"more than one request asks for", 300, 0, []int{1, 128, 128, 43}},
		{"an answer that is cut", 6, 2, []int{1, 5, 1, 1, 1}},
		{"more than may wait", tipsWaiting + 3, 0, append([]int{1, 1, 1}, slices.Repeat([]int{128}, tipsWaiting/128)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &endsOf{ends: map[string]uint64{}, takes: time.Millisecond, named: c.named}
				for i := range c.n {
					if i%5 != 4 || c.named > 0 {
						log.put(fmt.Sprint("c", i))
					}
				}
				askers(t.Context(), t, &tips{}, log, c.n, func(i int, p place, found bool, err error) {
					if want := log.of(fmt.Sprint("c", i)); err != nil || p.offset != want || found != (want > 0) {
						t.Errorf("c%d ends at %d, %v, %v; want %d", i, p.offset, found, err, want)
					}
				})
				if got := log.sizes(); !slices.Equal(got, c.want) {
					t.Errorf("requests for %v channels, want %v", got, c.want)
				}
			})
		})
	}
}

// TestTime04EndsAreNotOlderThanTheQuestion: an answer that several callers share is not older than any
// caller's question.
func TestTime04EndsAreNotOlderThanTheQuestion(t *testing.T) {
	const seed = 4
	t.Log("seed ", seed)
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		log := &endsOf{ends: map[string]uint64{}, takes: 3 * time.Millisecond, named: 5}
		var ends tips
		var asking sync.WaitGroup
		for range 2000 {
			subject := fmt.Sprint("c", rnd.IntN(40))
			if rnd.IntN(2) == 0 {
				log.put(subject)
			}
			patience := time.Duration(1+rnd.IntN(20)) * time.Millisecond
			before := log.of(subject)
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				p, found, err := ends.find(ctx, log, "s", subject)
				after := log.of(subject)
				switch {
				case err != nil && (!errors.Is(err, context.DeadlineExceeded) || ctx.Err() == nil):
					t.Errorf("%s: %v, whose time is not over", subject, err)
				case err == nil && (p.offset < before || p.offset > after || found != (p.offset > 0)):
					t.Errorf("%s ends at %d, %v; it did at %d before and at %d after", subject, p.offset, found, before, after)
				}
			})
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
		}
		asking.Wait()
		if ends.asking != nil || len(ends.waiting) > 0 {
			t.Errorf("%d wait at the end, and somebody asks: %v", len(ends.waiting), ends.asking)
		}
	})
}

// TestTime04WhoGivesUpBreaksNothing: a caller whose context ends does not affect other callers of the same
// request.
func TestTime04WhoGivesUpBreaksNothing(t *testing.T) {
	const takes = 100 * time.Millisecond
	for _, c := range []struct {
		name string
		// leaves holds the callers, by number, whose context ends that long after the first request has
		// begun.
		leaves  map[int]time.Duration
		want    string // requests, and how many were given up
		answers int
	}{
		{"nobody", nil, "[1 4] 0", 5},
		{"one who waits", map[int]time.Duration{2: takes / 2}, "[1 3] 0", 4},
		{"who would lead, before", map[int]time.Duration{1: takes / 2}, "[1 3] 0", 4},
		{"who leads", map[int]time.Duration{1: takes * 3 / 2}, "[1 4] 0", 5},
		{"one for whom is asked", map[int]time.Duration{3: takes * 3 / 2}, "[1 4] 0", 4},
		{"the first, who asks alone", map[int]time.Duration{0: takes / 2}, "[1 4] 1", 4},
		{"all for whom is asked", map[int]time.Duration{1: takes * 3 / 2, 2: takes * 3 / 2, 3: takes * 3 / 2, 4: takes * 3 / 2}, "[1 4] 1", 1},
		{"all who wait", map[int]time.Duration{1: takes / 2, 2: takes / 2, 3: takes / 2, 4: takes / 2}, "[1] 0", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &endsOf{ends: map[string]uint64{}, takes: takes}
				var ends tips
				var asking sync.WaitGroup
				var mu sync.Mutex
				answers := 0
				for i := range 5 {
					log.put(fmt.Sprint("c", i))
					asking.Go(func() {
						ctx, cancel := t.Context(), context.CancelFunc(func() {})
						if after, leaves := c.leaves[i]; leaves {
							ctx, cancel = context.WithTimeout(ctx, after)
						}
						defer cancel()
						p, _, err := ends.find(ctx, log, "s", fmt.Sprint("c", i))
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							answers++
							if p.offset != uint64(i+1) {
								t.Errorf("c%d ends at %d", i, p.offset)
							}
						} else if ctx.Err() == nil {
							t.Errorf("c%d: %v", i, err)
						}
					})
					synctest.Wait() // so that they come one after the other
				}
				asking.Wait()
				if got := fmt.Sprint(log.sizes(), " ", log.givenUp); got != c.want || answers != c.answers {
					t.Errorf("requests and given up %s, answers %d; want %s and %d", got, answers, c.want, c.answers)
				}
				// A later caller is not affected.
				if p, _, err := ends.find(t.Context(), log, "s", "c0"); err != nil || p.offset != 1 {
					t.Errorf("afterwards: %v, %v", p.offset, err)
				}
			})
		})
	}
}

// TestTime04OneFailedRequestFailsThoseInIt: a failed request fails its own callers, and no other.
func TestTime04OneFailedRequestFailsThoseInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		log := &endsOf{ends: map[string]uint64{}, takes: time.Millisecond, fails: broken}
		var ends tips
		askers(t.Context(), t, &ends, log, 10, func(i int, _ place, _ bool, err error) {
			if !errors.Is(err, broken) {
				t.Errorf("c%d: %v", i, err)
			}
		})
		log.fails = nil
		askers(t.Context(), t, &ends, log, 10, func(i int, _ place, _ bool, err error) {
			if err != nil {
				t.Errorf("c%d afterwards: %v", i, err)
			}
		})
		if got := log.sizes(); !slices.Equal(got, []int{1, 9, 1, 9}) {
			t.Errorf("requests for %v channels", got)
		}
	})
}

// TestTime04AnAnswerThatDoesNotComeHoldsUpNobody: a request without an answer delays other callers by at most
// a second.
func TestTime04AnAnswerThatDoesNotComeHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &endsOf{ends: map[string]uint64{}, takes: time.Hour}
		var ends tips
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() { _, _, _ = ends.find(ctx, log, "s", "lost") })
			synctest.Wait()
		}
		log.mu.Lock()
		log.takes = time.Millisecond
		log.mu.Unlock()
		began := time.Now()
		if _, _, err := ends.find(t.Context(), log, "s", "c"); err != nil || time.Since(began) > tipsPatience+10*time.Millisecond {
			t.Errorf("told after %v, %v", time.Since(began), err)
		}
		cancel()
		asking.Wait()
	})
}

// TestTime04ChannelsThatEndedLongAgoAreNotLookedForTogether: for such channels the server would look through
// all later messages.
func TestTime04ChannelsThatEndedLongAgoAreNotLookedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &endsOf{ends: map[string]uint64{}, takes: time.Millisecond}
		for i := range 10 {
			log.put(fmt.Sprint("c", i))
		}
		log.upTo += 2 * tipsFar
		var ends tips
		fine := func(i int, p place, _ bool, err error) {
			if err != nil || p.offset != uint64(i+1) {
				t.Errorf("c%d ends at %d, %v", i, p.offset, err)
			}
		}
		for range 3 {
			askers(t.Context(), t, &ends, log, 10, fine)
		}
		if got := strings.Trim(fmt.Sprint(log.sizes()), "[]"); got != "1 9"+strings.Repeat(" 1", 20) {
			t.Errorf("requests for %s channels", got)
		}
		log.asked = nil
		time.Sleep(tipsAlone)
		for i := range 10 {
			log.ends[fmt.Sprint("c", i)] += 2 * tipsFar
		}
		askers(t.Context(), t, &ends, log, 10, func(_ int, _ place, _ bool, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if got := log.sizes(); !slices.Equal(got, []int{1, 9}) {
			t.Errorf("requests for %v channels later", got)
		}
	})
}
