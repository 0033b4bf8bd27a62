package main

import (
	"fmt"
	"time"
)

// slow measures how much sockets that stop reading slow down the others. One arena has such sockets, the
// other has none; both alternate.
func slow(sockets, rounds int, period time.Duration) error {
	fmt.Printf("Rate of delivery of 1,024 B to the other sockets when 1 %% of %d stop reading, beside none stopping, interleaved, 16 messages on their way.\n\n", sockets)
	healthy, err := newArena(sockets, noDeltas, fixed(1024))
	if err != nil {
		return err
	}
	var ratios, took []float64
	var peak int
	for range rounds {
		a, err := newArena(sockets, noDeltas, fixed(1024))
		if err != nil {
			return err
		}
		// Both are warmed up before anything is compared.
		for _, x := range []*arena{a, healthy} {
			if _, err := x.pace(period, sockets); err != nil {
				return err
			}
		}
		quick, err := a.pace(period, sockets)
		if err != nil {
			return err
		}
		base, err := healthy.pace(period, sockets)
		if err != nil {
			return err
		}
		stopped := sockets / 100
		if _, err := fmt.Fprintf(a.child.in, "!%d\n", stopped); err != nil {
			return err
		}
		if _, err := a.child.out.ReadString('\n'); err != nil {
			return err
		}
		// Data that the kernel still accepts for the slow sockets would count as progress of the others, so
		// measuring begins when it accepts no more.
		begin, at := time.Now(), a.server.hub.Stats()
		before := at.Overflowed
		for a.server.hub.Stats().Blocked-at.Blocked < uint64(stopped) {
			if time.Since(begin) > 30*time.Second {
				return fmt.Errorf("only %d of %d sockets are blocked", a.server.hub.Stats().Blocked-at.Blocked, stopped)
			}
			if _, err := a.pace(20*time.Millisecond, sockets-stopped); err != nil {
				return err
			}
		}
		hurt, err := a.pace(period, sockets-stopped)
		if err != nil {
			return err
		}
		again, err := healthy.pace(period, sockets)
		if err != nil {
			return err
		}
		// The other arena's speed at about the same time corrects for changes of the machine's speed.
		ratios = append(ratios, 100*(hurt/quick)/(again/base))
		_, heap := memory()
		peak = max(peak, heap)
		for a.server.hub.Stats().Overflowed-before < uint64(stopped) {
			if time.Since(begin) > 30*time.Second {
				return fmt.Errorf("only %d of %d slow sockets were closed", a.server.hub.Stats().Overflowed-before, stopped)
			}
			if _, err := a.pace(20*time.Millisecond, sockets-stopped); err != nil {
				return err
			}
		}
		took = append(took, time.Since(begin).Seconds())
		a.child.kill()
		_ = a.contender.close()
	}
	r, t := spreadOf(ratios), spreadOf(took)
	fmt.Println("| rate with slow sockets, % of without | until all slow ones are closed | heap with them |\n| ---: | ---: | ---: |")
	fmt.Printf("| %.0f (%.0f-%.0f) | %.1f s (%.1f-%.1f) | %.0f MB |\n\n", r.median, r.low, r.high, t.median, t.low, t.high, float64(peak)/1e6)
	return healthy.close()
}

// pace publishes for a period with 16 messages in flight, counting only the sockets that read, and returns
// the messages per second.
func (a *arena) pace(period time.Duration, reading int) (float64, error) {
	start, begin := a.server.hub.Stats().Frames, time.Now()
	sent := 0
	wait := func(most int) error {
		for deadline := time.Now().Add(20 * time.Second); sent-int((a.server.hub.Stats().Frames-start)/uint64(reading)) > most; {
			if time.Now().After(deadline) {
				return fmt.Errorf("%d messages were sent and %d frames written", sent, a.server.hub.Stats().Frames-start)
			}
			time.Sleep(20 * time.Microsecond)
		}
		return nil
	}
	for time.Since(begin) < period {
		for _, send := range a.prepare("tick", a.source.take(8)) {
			send()
			sent++
			if err := wait(15); err != nil {
				return 0, err
			}
		}
	}
	rate := float64(sent) / time.Since(begin).Seconds()
	// No message may be left in flight, because the next call would count it as its own.
	return rate, wait(0)
}
