package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
)

// millionLog opens an embedded log on disk in this process, so that the memory of both is measured.
func millionLog(ctx context.Context, dir string, most int64) (*streams.Log, func(), error) {
	server, err := embedded.Start(ctx, embedded.Options{Port: -1, StoreDir: dir})
	if err != nil {
		return nil, nil, err
	}
	l, err := streams.Open(ctx, streams.Options{
		Apps: []streams.AppOptions{{ID: "app", Secrets: []streams.Secret{"secret"}, MaxMessages: most, MaxBytes: -1}}, ConnectOptions: server.ConnectOptions(), StartTimeout: time.Minute,
	})
	if err != nil {
		server.Shutdown()
		return nil, nil, err
	}
	return l, func() { _ = l.Close(); server.Shutdown() }, nil
}

// inUse returns the memory in use by this process, in bytes.
func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

func diskOf(dir string) (n float64) {
	_ = filepath.Walk(dir, func(_ string, f os.FileInfo, err error) error {
		if err == nil && f.Mode().IsRegular() {
			n += float64(f.Size())
		}
		return nil
	})
	return n
}

// fillLog stores n events of 100 B, event i in the channel name(i).
func fillLog(ctx context.Context, l *streams.Log, n int, name func(i int) string) (time.Duration, error) {
	began := time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, 8)
	const batch = 50
	for w := range errs {
		group.Go(func() {
			for errs[w] == nil {
				first := int(next.Add(batch)) - batch
				if first >= n {
					return
				}
				out := make([]broker.Outgoing, 0, batch)
				for i := first; i < min(first+batch, n); i++ {
					out = append(out, broker.Outgoing{Channel: name(i), Event: &broker.Event{Name: "e", Data: fixed(100).next()}})
				}
				_, errs[w] = l.Publish(ctx, "app", out...)
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

type nobody struct{}

func (nobody) Publication(*broker.Publication) {}
func (nobody) Gap(broker.Gap)                  {}

// million measures n channels with one event each and one channel with n events.
func million(n int) error {
	if err := manyChannels(n); err != nil {
		return err
	}
	return longChannel(n)
}

func manyChannels(n int) error {
	dir, err := os.MkdirTemp("", "bench-million-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	l, stop, err := millionLog(ctx, dir, 1000)
	if err != nil {
		return err
	}
	defer stop()
	name := func(i int) string { return fmt.Sprintf("room-%d", i) }
	// Measured before anything is stored, because the store's caches vary in size later.
	before := inUse()
	attached, err := attachAll(ctx, l, min(n, 100_000), func(i int) string { return fmt.Sprintf("quiet-%d", i) })
	if err != nil {
		return err
	}
	perAttached := (inUse() - before) / float64(len(attached))
	for _, a := range attached {
		a.Detach()
	}
	empty := inUse()
	took, err := fillLog(ctx, l, n, name)
	if err != nil {
		return err
	}
	full := inUse()
	fmt.Printf("%d channels with one event of 100 B each, embedded log on disk:\n\n", n)
	fmt.Println("| what | |\n| --- | ---: |")
	fmt.Printf("| stored | %.0f/s |\n", float64(n)/took.Seconds())
	fmt.Printf("| memory per channel, server and gateway | %.0f B |\n", (full-empty)/float64(n))
	fmt.Printf("| disk per channel | %.0f B |\n", diskOf(dir)/float64(n))
	fmt.Printf("| memory per attached channel, server and gateway | %.0f B |\n", perAttached)
	attach, err := timed(1000, func(i int) error {
		a, err := l.Attach(ctx, "app", name(i*(n/1000)), nobody{})
		if err == nil {
			defer a.Detach()
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("| attaching to a channel, p50 / p99 | %.3f / %.3f ms |\n", ms(quantile(attach, .5)), ms(quantile(attach, .99)))
	read, err := timed(1000, func(i int) error { return history(ctx, l, name(i*(n/1000)), true, 100, 1) })
	if err != nil {
		return err
	}
	fmt.Printf("| history of a channel, p50 / p99 | %.3f / %.3f ms |\n", ms(quantile(read, .5)), ms(quantile(read, .99)))
	many := min(n, 100_000)
	began := time.Now()
	if _, err := attachAll(ctx, l, many, name); err != nil {
		return err
	}
	fmt.Printf("| attaching %d channels at once | %.0f/s |\n\n", many, float64(many)/time.Since(began).Seconds())
	return nil
}

// attachAll attaches n channels from several goroutines.
func attachAll(ctx context.Context, l *streams.Log, n int, name func(int) string) ([]broker.Attachment, error) {
	out := make([]broker.Attachment, n)
	errs := make([]error, 16)
	var group sync.WaitGroup
	for w := range errs {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				out[i], errs[w] = l.Attach(ctx, "app", name(i), nobody{})
			}
		})
	}
	group.Wait()
	return out, errors.Join(errs...)
}

func longChannel(n int) error {
	dir, err := os.MkdirTemp("", "bench-million-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	l, stop, err := millionLog(ctx, dir, -1)
	if err != nil {
		return err
	}
	defer stop()
	empty := inUse()
	took, err := fillLog(ctx, l, n, func(int) string { return "room" })
	if err != nil {
		return err
	}
	fmt.Printf("One channel with %d events of 100 B:\n\n", n)
	fmt.Println("| what | |\n| --- | ---: |")
	fmt.Printf("| stored | %.0f/s |\n", float64(n)/took.Seconds())
	fmt.Printf("| memory per event | %.1f B |\n", (inUse()-empty)/float64(n))
	fmt.Printf("| disk per event | %.0f B |\n", diskOf(dir)/float64(n))
	for _, part := range []struct {
		name string
		do   func(int) error
	}{
		{"attaching", func(int) error {
			a, err := l.Attach(ctx, "app", "room", nobody{})
			if err == nil {
				a.Detach()
			}
			return err
		}},
		{"history of the last 100", func(int) error { return history(ctx, l, "room", true, 100, 100) }},
		{"history of the oldest 100", func(int) error { return history(ctx, l, "room", false, 100, 100) }},
	} {
		took, err := timed(50, part.do)
		if err != nil {
			return err
		}
		fmt.Printf("| %s, p50 / p99 | %.2f / %.2f ms |\n", part.name, ms(quantile(took, .5)), ms(quantile(took, .99)))
	}
	fmt.Println()
	return nil
}

func history(ctx context.Context, l *streams.Log, channel string, newest bool, limit, want int) error {
	page, err := l.Read(ctx, "app", channel, broker.Query{NewestFirst: newest, Limit: limit})
	if err == nil && len(page.Publications) != want {
		err = fmt.Errorf("a page has %d publications, want %d", len(page.Publications), want)
	}
	return err
}

func timed(n int, do func(i int) error) ([]time.Duration, error) {
	out := make([]time.Duration, 0, n)
	for i := range n {
		began := time.Now()
		if err := do(i); err != nil {
			return nil, err
		}
		out = append(out, time.Since(began))
	}
	return out, nil
}
