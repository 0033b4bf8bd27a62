package broker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// got is the answer that a caller got.
type got struct {
	round int
	err   error
}

// asker calls Do with rounds that return their number once goOn lets them.
type asker struct {
	rounds  Rounds[string, int]
	begun   atomic.Int32
	ended   atomic.Int32
	goOn    chan struct{}
	answers chan got
}

func newAsker() *asker {
	return &asker{goOn: make(chan struct{}), answers: make(chan got, 100)}
}

func (a *asker) ask(ctx context.Context) {
	go func() {
		n, err := a.rounds.Do(ctx, "key", func(ctx context.Context) (int, error) {
			n := int(a.begun.Add(1))
			select {
			case <-a.goOn:
				return n, nil
			case <-ctx.Done():
				a.ended.Add(1)
				return 0, ctx.Err()
			}
		})
		a.answers <- got{n, err}
	}()
	synctest.Wait()
}

// TestTrust02WhoAsksMeanwhileSharesTheNextRound: a running round may already have read what a new caller asks
// about, so no caller shares a round that began before its call.
func TestTrust02WhoAsksMeanwhileSharesTheNextRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		for range 50 {
			a.ask(t.Context())
		}
		if a.begun.Load() != 1 || a.rounds.Waiting() != 50 {
			t.Fatalf("%d rounds have begun and %d wait, want 1 and 50", a.begun.Load(), a.rounds.Waiting())
		}
		for _, want := range []int{1, 49} {
			a.goOn <- struct{}{}
			synctest.Wait()
			if len(a.answers) != want {
				t.Fatalf("%d have their answer, want %d", len(a.answers), want)
			}
			first := <-a.answers
			for range want - 1 {
				if next := <-a.answers; next != first {
					t.Errorf("got %v and %v from one round", first, next)
				}
			}
			if first.err != nil {
				t.Error(first.err)
			}
		}
		if a.begun.Load() != 2 || len(a.rounds.of) != 0 {
			t.Errorf("there were %d rounds, want 2; %d keys are left", a.begun.Load(), len(a.rounds.of))
		}
	})
}

func TestTrust02WhatNobodyWaitsForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		first, leaveFirst := context.WithCancel(t.Context())
		second, leaveSecond := context.WithTimeout(t.Context(), time.Second)
		defer leaveSecond()
		third, leaveThird := context.WithCancel(t.Context())
		defer leaveThird()
		a.ask(first)
		a.ask(second)
		a.ask(third)
		// Of the two callers of the next round one leaves, the other goes on waiting.
		<-second.Done()
		synctest.Wait()
		if answer := <-a.answers; !errors.Is(answer.err, context.DeadlineExceeded) {
			t.Errorf("whose time is over got %v", answer)
		}
		// No caller waits for the first round any more, so the next one begins.
		leaveFirst()
		synctest.Wait()
		if answer := <-a.answers; !errors.Is(answer.err, context.Canceled) || a.ended.Load() != 1 || a.begun.Load() != 2 {
			t.Errorf("who left got %v; %d of %d rounds were ended", answer, a.ended.Load(), a.begun.Load())
		}
		// The caller that runs a round stays with it for the others that wait for it.
		fourth, leaveFourth := context.WithCancel(t.Context())
		a.ask(fourth)
		a.ask(t.Context())
		a.goOn <- struct{}{}
		synctest.Wait()
		if answer := <-a.answers; answer != (got{2, nil}) {
			t.Errorf("the second round answered %v", answer)
		}
		leaveFourth()
		synctest.Wait()
		if a.ended.Load() != 1 {
			t.Error("a round was ended that somebody waits for")
		}
		a.goOn <- struct{}{}
		synctest.Wait()
		if n := a.rounds.Waiting(); n != 0 || a.begun.Load() != 3 {
			t.Errorf("%d wait after %d rounds", n, a.begun.Load())
		}
		// A call with an ended context begins no round, and rounds that were never run are forgotten.
		late, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.rounds.Do(late, "key", nil); !errors.Is(err, context.Canceled) || len(a.rounds.of) != 0 {
			t.Errorf("too late: %v, %d keys are left", err, len(a.rounds.of))
		}
	})
}

// TestARoundThatPanicsHoldsNobody: the panic goes to the caller that ran the round, and the other callers get
// an error.
func TestARoundThatPanicsHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds Rounds[string, int]
		goOn, recovered, other := make(chan struct{}), make(chan any, 2), make(chan error, 2)
		for range 2 {
			go func() {
				defer func() {
					if p := recover(); p != nil {
						recovered <- p
					}
				}()
				_, err := rounds.Do(t.Context(), "key", func(context.Context) (int, error) {
					<-goOn
					panic("broken")
				})
				other <- err
			}()
			synctest.Wait()
		}
		go func() {
			_, err := rounds.Do(t.Context(), "key", func(context.Context) (int, error) { return 0, nil })
			other <- err
		}()
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		if len(recovered)+len(other) != 3 || len(recovered) == 0 || len(rounds.of) != 0 {
			t.Errorf("%d panics and %d answers of 3", len(recovered), len(other))
		}
	})
}

func TestNamesThatBeginWithAPrefix(t *testing.T) {
	names := []string{"a", "a-1", "a-2", "a.1", "b", "b\xff", "c"}
	for prefix, want := range map[string][]string{
		"": names, "a": names[:4], "a-": names[1:3], "a-2": names[2:3], "b": names[4:6], "b\xff": names[5:6], "c": names[6:],
		"0": nil, "aa": nil, "a-3": nil, "d": nil, "cc": nil,
	} {
		if got := Beginning(names, prefix); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: got %q, want %q", prefix, got, want)
		}
	}
	if got := Beginning(nil, ""); got != nil {
		t.Errorf("of nothing: %q", got)
	}
}
