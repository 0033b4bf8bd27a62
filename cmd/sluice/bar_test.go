package main

import (
	"io"
	"sync"
	"testing"
	"time"
)

// TestABarIsForSeveralGoroutines: who reads ahead says what is wrong while somebody else shows how far it is. The race
// detector judges.
func TestABarIsForSeveralGoroutines(t *testing.T) {
	b := &bar{out: io.Discard}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range 100 {
				b.update(time.Now(), 0.5, "half")
				b.clear()
			}
		})
	}
	all.Wait()
}
