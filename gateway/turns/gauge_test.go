package turns

import (
	"os"
	"testing"
	"time"
)

// TestTime04TheGauge measures a step with and without its pipe, and ends what it began.
func TestTime04TheGauge(t *testing.T) {
	late, end := measure()
	for range 3 {
		if by := late(); by < 0 || by > time.Minute {
			t.Errorf("late by %v", by)
		}
	}
	end()
	alone := &gauge{}
	if by := alone.step(); by < 0 || by > time.Minute {
		t.Errorf("late by %v without a pipe", by)
	}
	alone.close()
}

// TestTime04TheGaugeFeelsWhatNobodyFetches: while what has come is not fetched, a step lasts.
func TestTime04TheGaugeFeelsWhatNobodyFetches(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := &gauge{in: in, out: out, came: make(chan struct{}, 1)}
	begun, measured := make(chan time.Time), make(chan time.Duration)
	go func() {
		begun <- time.Now()
		measured <- g.step()
	}()
	began := <-begun
	select {
	case by := <-measured:
		t.Fatalf("late by %v, while nothing was fetched", by)
	case <-time.After(5 * flowStep):
	}
	fetched := time.Now()
	go g.read()
	by := <-measured
	// The step may have begun later than its goroutine, and ended later than what was fetched.
	if by <= 0 || by < fetched.Sub(began)-(time.Since(began)-by) {
		t.Errorf("late by %v, and fetched after %v", by, fetched.Sub(began))
	}
	g.close()
}
