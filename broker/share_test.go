package broker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestTrust07AShareIsNobodysAlone: calls that hang on a dead stream leave others their part at once, and
// after a second all of it.
func TestTrust07AShareIsNobodysAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(8)
		ctx, cancel := context.WithCancel(t.Context())
		held, gave := make(chan func(), 100), make(chan struct{}, 100)
		take := func(ctx context.Context, key string) {
			go func() {
				if done, err := s.Take(ctx, key); err == nil {
					held <- done
				}
				gave <- struct{}{}
			}()
		}
		for i := range 40 {
			take(ctx, fmt.Sprint("dead-", i%2))
		}
		synctest.Wait()
		if len(held) != 8 {
			t.Fatalf("%d places are taken, want 8", len(held))
		}
		if underWay, waiting := s.Load("dead-0"); underWay != 4 || waiting != 16 {
			t.Errorf("%d are under way and %d wait, want 4 and 16", underWay, waiting)
		}
		if underWay, waiting := s.Load("alive"); underWay != 0 || waiting != 0 {
			t.Errorf("%d and %d of a key without any", underWay, waiting)
		}
		began := time.Now()
		done, err := s.Take(t.Context(), "alive")
		if err != nil || time.Since(began) > shareStale {
			t.Fatalf("another key waited %v: %v", time.Since(began), err)
		}
		done()
		// Only the dead key's calls wait now, and they hold no more than their part.
		for range 100 {
			done, err := s.Take(t.Context(), "alive")
			if err != nil {
				t.Fatal(err)
			}
			done()
		}
		if time.Since(began) > shareStale || len(held) != 8 {
			t.Errorf("it took %v with %d places of others", time.Since(began), len(held))
		}
		cancel()
		synctest.Wait()
		for len(held) > 0 {
			(<-held)()
		}
		if len(s.keys) != 0 || len(s.turns) != 0 || s.used != 0 {
			t.Errorf("it keeps %d keys, %d turns and %d places", len(s.keys), len(s.turns), s.used)
		}
	})
}

// TestTrust07KeysOfAShareTakeTurns: a key with many calls does not make another key wait for all of them.
func TestTrust07KeysOfAShareTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(1)
		first, err := s.Take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan string, 10)
		for _, key := range []string{"a", "a", "a", "b"} {
			go func() {
				done, err := s.Take(t.Context(), key)
				if err == nil {
					order <- key
					done()
				}
			}()
			synctest.Wait()
		}
		first()
		synctest.Wait()
		got := ""
		for range 4 {
			got += <-order
		}
		if got != "abaa" {
			t.Errorf("served in the order %s, want abaa", got)
		}
	})
}
