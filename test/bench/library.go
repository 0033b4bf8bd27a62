package main

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/lxzan/gws"
)

// libraryServer accepts WebSockets with the plain library, to measure the library's own ways of sending.
type libraryServer struct {
	gws.BuiltinEventHandler
	listener *countingListener
	http     *http.Server
	upgrader *gws.Upgrader
	payload  []byte

	mu    sync.Mutex
	conns []*gws.Conn
	sent  atomic.Uint64
	send  func(n int) []func()
}

func startLibrary() (*libraryServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &libraryServer{listener: &countingListener{Listener: l}, payload: plainFrame("tick", fixed(1024).next())[4:]}
	s.upgrader = gws.NewUpgrader(s, &gws.ServerOption{ReadBufferSize: 512})
	s.http = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go c.ReadLoop()
	})}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// OnMessage confirms the subscription that all benchmark clients request.
func (s *libraryServer) OnMessage(c *gws.Conn, m *gws.Message) {
	_ = m.Close()
	_ = c.WriteString(`{"event":"pusher_internal:subscription_succeeded"}`)
}

// prepare implements [contender].
func (s *libraryServer) prepare(_ string, data [][]byte) []func() { return s.send(len(data)) }

// written implements [contender].
func (s *libraryServer) written() uint64 { return s.sent.Load() }

func (s *libraryServer) close() error { return s.http.Close() }

// ways returns the library's ways to send one message to all connections.
func (s *libraryServer) ways() map[string]func(n int) []func() {
	repeat := func(n int, f func()) []func() {
		out := make([]func(), n)
		for i := range out {
			out[i] = f
		}
		return out
	}
	return map[string]func(n int) []func(){
		"Broadcaster": func(n int) []func() {
			return repeat(n, func() {
				b := gws.NewBroadcaster(gws.OpcodeText, s.payload)
				for _, c := range s.conns {
					_ = b.Broadcast(c)
				}
				// The library does not report completion, so one more closure per socket does.
				for _, c := range s.conns {
					c.Async(func() { s.sent.Add(1) })
				}
				_ = b.Close()
			})
		},
		"WriteAsync": func(n int) []func() {
			return repeat(n, func() {
				for _, c := range s.conns {
					c.WriteAsync(gws.OpcodeText, s.payload, func(error) { s.sent.Add(1) })
				}
			})
		},
		"WriteMessage": func(n int) []func() {
			return repeat(n, func() {
				var wg sync.WaitGroup
				half := len(s.conns) / 2
				for _, part := range [][]*gws.Conn{s.conns[:half], s.conns[half:]} {
					wg.Go(func() {
						for _, c := range part {
							_ = c.WriteMessage(gws.OpcodeText, s.payload)
							s.sent.Add(1)
						}
					})
				}
				wg.Wait()
			})
		},
	}
}

// library compares the ways of the WebSocket library with this product.
func library(sockets, rounds int, period time.Duration) error {
	fmt.Printf("The WebSocket library's own ways to send 1,024 B to %d sockets, beside ours, interleaved. Percent of the raw limit by CPU.\n\n", sockets)
	fmt.Println("| way | load | CPU per message | % of raw limit | allocs/message |")
	fmt.Println("| --- | --- | ---: | ---: | ---: |")
	ours, err := newArena(sockets, noDeltas, fixed(1024))
	if err != nil {
		return err
	}
	s, err := startLibrary()
	if err != nil {
		return err
	}
	lib := &arena{contender: s, sockets: sockets, source: fixed(1024)}
	if lib.child, err = startChild(s.listener.Addr().String(), sockets, benchChannel, "plain"); err != nil {
		return err
	}
	if lib.arrived, err = lib.child.bytes(); err != nil {
		return err
	}
	variants := []*variant{{name: "raw", run: ours.rawLimit}}
	for _, load := range []struct {
		name   string
		window int
	}{{"window 1", 1}, {"saturated", 16}} {
		variants = append(variants, &variant{name: "sluice | " + load.name, run: func(n int) (sample, error) { return ours.windowed(n, load.window, true) }})
		for _, way := range []string{"Broadcaster", "WriteAsync", "WriteMessage"} {
			send := s.ways()[way]
			variants = append(variants, &variant{name: way + " | " + load.name, run: func(n int) (sample, error) {
				s.send = send
				return lib.windowed(n, load.window, true)
			}})
		}
	}
	if err := takeTurns(variants, rounds, period); err != nil {
		return err
	}
	for _, v := range variants {
		var cpus, percent, allocs []float64
		for i, x := range v.got {
			cpus = append(cpus, x.cpuPerMessage())
			percent = append(percent, 100*variants[0].got[i].cpuPerMessage()/x.cpuPerMessage())
			allocs = append(allocs, float64(x.allocs)/float64(x.delivered))
		}
		name := v.name
		if name == "raw" {
			name = "raw | -"
		}
		p := spreadOf(percent)
		fmt.Printf("| %s | %.0f ns | %.0f (%.0f-%.0f) | %.3f |\n", name, spreadOf(cpus).median, p.median, p.low, p.high, spreadOf(allocs).median)
	}
	fmt.Println()
	if err := lib.close(); err != nil {
		return err
	}
	return ours.close()
}

// takeTurns finds out how many messages fill the period for each variant, and runs the variants alternately,
// in reverse order every second round.
func takeTurns(variants []*variant, rounds int, period time.Duration) error {
	for _, v := range variants {
		t := time.Now()
		if _, err := v.run(32); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		v.n = min(max(int(32*period/max(time.Since(t), time.Millisecond)), 32), 100000)
	}
	for round := range rounds {
		order := slices.Clone(variants)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, v := range order {
			s, err := v.run(v.n)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			v.got = append(v.got, s)
		}
	}
	return nil
}

// coalesce measures the gain of several frames in one write.
func coalesce(sockets, rounds int, period time.Duration) error {
	fmt.Printf("CPU per frame of 1 KB when k frames share one write, %d sockets.\n\n| k | CPU per frame | of k = 1 |\n| ---: | ---: | ---: |\n", sockets)
	a, err := newArena(sockets, noDeltas, fixed(1024))
	if err != nil {
		return err
	}
	var variants []*variant
	ks := []int{1, 2, 4, 8, 16}
	for _, k := range ks {
		frame := plainFrame("tick", a.source.next())
		frames := slices.Repeat(frame, k)
		variants = append(variants, &variant{name: fmt.Sprint(k), run: func(n int) (sample, error) {
			n = max(n/k, 4)
			s, err := a.measured(n*k, int64(n*sockets*len(frames)), func() ([]time.Duration, error) {
				return nil, rawMessages(a.raw, frames, n)
			})
			return s, err
		}})
	}
	if err := takeTurns(variants, rounds, period); err != nil {
		return err
	}
	for i, v := range variants {
		var cpus, ratio []float64
		for round, s := range v.got {
			cpus = append(cpus, s.cpuPerMessage())
			ratio = append(ratio, s.cpuPerMessage()/variants[0].got[round].cpuPerMessage())
		}
		fmt.Printf("| %d | %.0f ns | %.2f |\n", ks[i], spreadOf(cpus).median, spreadOf(ratio).median)
	}
	fmt.Println()
	return a.close()
}

// writeRaw calls write once.
func writeRaw(fd uintptr, p []byte) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if e != 0 {
		return 0, e
	}
	return int(r), 0
}
