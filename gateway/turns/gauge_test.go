package turns

import (
	"os"
	"sync"
	"testing"
	"time"
)

// TestTime04TheGauge measures steps with and without its pipe, and ends what it began.
func TestTime04TheGauge(t *testing.T) {
	g, alone := &Gauge{}, &Gauge{}
	g.Begin()
	// Two doors may share it.
	var doors sync.WaitGroup
	for range 2 {
		doors.Go(func() {
			for range 10 {
				if by := g.step(); by < 0 || by > time.Minute {
					t.Errorf("late by %v", by)
				}
			}
		})
	}
	doors.Wait()
	if len(g.came) > 0 {
		t.Error("a byte was left")
	}
	g.End()
	if by := alone.step(); by < 0 || by > time.Minute {
		t.Errorf("late by %v without a pipe", by)
	}
	alone.End()
}

// TestTime04TheGaugeFeelsWhatNobodyFetches: a step lasts until its byte is read.
func TestTime04TheGaugeFeelsWhatNobodyFetches(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := &Gauge{in: in, out: out, came: make(chan struct{}, 1)}
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
	// The step may have begun later than its goroutine, and ended later than the read.
	if by <= 0 || by < fetched.Sub(began)-(time.Since(began)-by) {
		t.Errorf("late by %v, and fetched after %v", by, fetched.Sub(began))
	}
	g.End()
}
