package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
)

var noDeltas = app.Delta{}

// keys measures the lookup of conflation values.
func keys(rounds int) error {
	fmt.Print("Looking up the conflation value, in nanoseconds (median of rounds, interleaved).\n\n| where | ours | allocs | gjson, checked | its time / ours | encoding/json into a map | its time / ours |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	filler := func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, `"field%d":%d.25,`, i, i*37)
		}
		return b.String()
	}
	for _, c := range []struct{ name, path, data string }{
		{"first of 320 B", "symbol", `{"symbol":"BTC",` + filler(300) + `"x":1}`},
		{"last of 320 B", "symbol", `{` + filler(300) + `"symbol":"BTC"}`},
		{"missing in 320 B", "symbol", `{` + filler(310) + `"x":1}`},
		{"nested", "a.b.0", `{` + filler(300) + `"a":{"b":["BTC"]}}`},
		{"last of 3 KB", "symbol", `{` + filler(3000) + `"symbol":"BTC"}`},
	} {
		path, err := delta.ParsePath(c.path)
		if err != nil {
			return err
		}
		data := []byte(c.data)
		var a, b, m, rb, rm []float64
		var allocs int64
		for range rounds {
			ours := testing.Benchmark(func(t *testing.B) {
				t.ReportAllocs()
				for t.Loop() {
					if delta.ShapeOf(data) == delta.Structure {
						path.Lookup(data)
					}
				}
			})
			other := testing.Benchmark(func(t *testing.B) {
				for t.Loop() {
					if gjson.ValidBytes(data) {
						gjson.GetBytes(data, c.path)
					}
				}
			})
			std := testing.Benchmark(func(t *testing.B) {
				for t.Loop() {
					var v map[string]any
					_ = json.Unmarshal(data, &v)
				}
			})
			allocs = ours.AllocsPerOp()
			x, y, z := float64(ours.NsPerOp()), float64(other.NsPerOp()), float64(std.NsPerOp())
			a, b, m, rb, rm = append(a, x), append(b, y), append(m, z), append(rb, y/x), append(rm, z/x)
		}
		fmt.Printf("| %s | %.0f | %d | %.0f | %.1f | %.0f | %.1f |\n", c.name, spreadOf(a).median, allocs,
			spreadOf(b).median, spreadOf(rb).median, spreadOf(m).median, spreadOf(rm).median)
	}
	fmt.Println()
	return nil
}

// collections measures garbage collection with many connections.
func collections(sockets, channels int) error {
	s, err := startServer(app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100})
	if err != nil {
		return err
	}
	c, err := startChild(s.listener.Addr().String(), sockets, benchChannel, "delta")
	if err != nil {
		return err
	}
	for i := range channels - 1 {
		if _, err := fmt.Fprintf(c.in, "+gc-%d\n", i); err != nil {
			return err
		}
		if _, err := c.out.ReadString('\n'); err != nil {
			return err
		}
	}
	for s.hub.Stats().Frames < uint64(sockets*(channels+2)) {
		time.Sleep(time.Millisecond)
	}
	var took []float64
	for range 10 {
		t := time.Now()
		runtime.GC()
		took = append(took, float64(time.Since(t).Microseconds())/1e3)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var pause uint64
	for i := range 10 {
		pause = max(pause, m.PauseNs[(int(m.NumGC)-1-i)%256])
	}
	r := spreadOf(took)
	fmt.Printf("Garbage collection over %d connections with %d subscriptions: a cycle takes %.1f ms (%.1f-%.1f), the longest pause of ten is %.2f ms, the heap has %.1f MB.\n\n",
		sockets, sockets*channels, r.median, r.low, r.high, float64(pause)/1e6, float64(m.HeapAlloc)/1e6)
	if err := c.stop(); err != nil {
		return err
	}
	return s.close()
}
