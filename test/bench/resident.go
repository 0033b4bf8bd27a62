package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/gateway/app"
)

// residentMain is a child process that measures its own memory per connection:
// arguments are "sluice" or "centrifuge" and the number of sockets. It prints the
// bytes of resident memory and of heap per connection.
func residentMain(args []string) error {
	sockets, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var address string
	var stop func() error
	speaks := "delta"
	if args[0] == "sluice" {
		s, err := startServer(app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100})
		if err != nil {
			return err
		}
		address, stop = s.listener.Addr().String(), s.close
	} else {
		p, err := startPeer(true)
		if err != nil {
			return err
		}
		address, stop = p.address(), p.close
		speaks = "centrifuge-delta"
	}
	// The first connections cause allocations that later ones share.
	warm, err := startChild(address, 50, benchChannel, speaks)
	if err != nil {
		return err
	}
	rss, heap := memory()
	c, err := startChild(address, sockets, benchChannel, speaks)
	if err != nil {
		return err
	}
	rss2, heap2 := memory()
	fmt.Println((rss2-rss)/sockets, (heap2-heap)/sockets)
	if err := c.stop(); err != nil {
		return err
	}
	if err := warm.stop(); err != nil {
		return err
	}
	return stop()
}

// memory returns the resident memory and the heap of this process after a collection.
func memory() (rss, heap int) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, int(m.HeapAlloc)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize(), int(m.HeapAlloc)
}

// residents measures each server in fresh processes, alternately.
func residents(sockets, rounds int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("Memory per idle connection that is subscribed to one channel with deltas, %d connections, each measurement in a fresh process, %d rounds (median, lowest-highest).\n\n", sockets, rounds)
	fmt.Println("| server | RSS per connection | heap per connection | its RSS / ours |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	rss, heap := map[string][]float64{}, map[string][]float64{}
	names := []string{"sluice", "centrifuge"}
	for range rounds {
		for _, name := range names {
			cmd := exec.Command(self, "resident", name, strconv.Itoa(sockets))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("memory of %s: %w", name, err)
			}
			var r, h float64
			if _, err := fmt.Sscan(string(out), &r, &h); err != nil {
				return err
			}
			rss[name], heap[name] = append(rss[name], r), append(heap[name], h)
		}
	}
	for _, name := range names {
		r, h, ratio := spreadOf(rss[name]), spreadOf(heap[name]), "-"
		if name != "sluice" {
			ratio = fmt.Sprintf("%.1f", r.median/spreadOf(rss["sluice"]).median)
		}
		fmt.Printf("| %s | %.0f B (%.0f-%.0f) | %.0f B | %s |\n", name, r.median, r.low, r.high, h.median, ratio)
	}
	fmt.Println()
	return nil
}

// subscriptions measures the memory of further subscriptions of the same sockets: it compares the heap for
// two numbers of sockets, so that the memory of the channels themselves, mainly their bases, cancels out.
func subscriptions(sockets, channels int) error {
	fmt.Printf("Heap of further subscriptions, %d and %d sockets on %d channels each. Bases belong to the channel and are shared.\n\n", sockets, 2*sockets, channels)
	fmt.Println("| deltas | conflation values seen | heap per subscription | more than without deltas |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	without := 0.0
	for _, c := range []struct {
		deltas bool
		keys   int
	}{{false, 1}, {true, 1}, {true, 100}} {
		few, err := subscriptionHeap(sockets, channels, c.deltas, c.keys)
		if err != nil {
			return err
		}
		many, err := subscriptionHeap(2*sockets, channels, c.deltas, c.keys)
		if err != nil {
			return err
		}
		per := (many - few) / float64(sockets*channels)
		on, more := "off", "-"
		if c.deltas {
			on, more = "on", fmt.Sprintf("%.0f B", per-without)
		} else {
			without = per
		}
		fmt.Printf("| %s | %d | %.0f B | %s |\n", on, c.keys, per, more)
	}
	fmt.Println()
	return nil
}

func subscriptionHeap(sockets, channels int, deltas bool, keys int) (float64, error) {
	settings := app.Delta{Enabled: deltas, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 3000, MaxKeys: 100}
	if keys > 1 {
		settings.Path = "k"
	}
	s, err := startServer(settings)
	if err != nil {
		return 0, err
	}
	speaks := "plain"
	if deltas {
		speaks = "delta"
	}
	c, err := startChild(s.listener.Addr().String(), sockets, benchChannel, speaks)
	if err != nil {
		return 0, err
	}
	start := s.hub.Stats().Frames
	await := func(perSubscription int) {
		for s.hub.Stats().Frames-start < uint64(sockets*channels*perSubscription) {
			runtime.Gosched()
		}
	}
	_, before := memory()
	for i := range channels {
		if _, err := io.WriteString(c.in, fmt.Sprintf("+channel-%d\n", i)); err != nil {
			return 0, err
		}
		if _, err := c.out.ReadString('\n'); err != nil {
			return 0, err
		}
	}
	await(1)
	for i := range channels {
		sink := s.sinkOf(fmt.Sprintf("channel-%d", i))
		for k := range keys {
			sink.Publication(s.publication("tick", fmt.Appendf(nil, `{"k":"%d","pad":"%0200d"}`, k, k)))
		}
	}
	await(1 + keys)
	_, after := memory()
	if err := c.stop(); err != nil {
		return 0, err
	}
	return float64(after - before), s.close()
}
