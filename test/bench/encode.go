package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/centrifugal/fdelta"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/test/workload"
)

// pairs is a list of bases with their targets.
type pairs struct {
	name           string
	bases, targets [][]byte
}

// streamPairs returns consecutive texts of a stream with the same conflation value.
func streamPairs(s *workload.Stream, n int) pairs {
	p := pairs{name: s.Name}
	last := map[string][]byte{}
	for len(p.bases) < n {
		text, key := s.NextText()
		if base := last[key]; base != nil {
			p.bases, p.targets = append(p.bases, base), append(p.targets, text)
		}
		last[key] = text
	}
	return p
}

// changedPairs returns random JSON-like texts of a size in which a number of places changed.
func changedPairs(size, changes, n int) pairs {
	r := rand.New(rand.NewPCG(uint64(size), uint64(changes)))
	p := pairs{name: fmt.Sprintf("%d B, %d changed", size, changes)}
	for range n {
		base := make([]byte, 0, size)
		for len(base) < size {
			base = fmt.Appendf(base, `"f%d":%d,`, len(base), r.Uint32())
		}
		base = base[:size]
		target := bytes.Clone(base)
		for range changes {
			at := r.IntN(size - 8)
			for i := range 4 {
				target[at+i] = byte('0' + r.IntN(10))
			}
		}
		p.bases, p.targets = append(p.bases, base), append(p.targets, target)
	}
	return p
}

// encoders measures this product's two formats and the fdelta module, interleaved.
func encoders(rounds int, period time.Duration) error {
	fmt.Println("Delta encoders, one core. Ratios are the median of the rounds' ratios with the lowest and the highest; sizes are of bare deltas.")
	fmt.Println()
	fmt.Println("| input | text | fossil | fdelta | its time / ours | fossil size | fdelta size | vcdiff | vcdiff size | allocs (ours) |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	var all []pairs
	for _, s := range workload.All() {
		n := 400
		if s.Name == "book" {
			n = 40
		}
		all = append(all, streamPairs(s, n))
	}
	for _, size := range []int{200, 1 << 10, 4 << 10, 64 << 10} {
		for _, changes := range []int{1, 4} {
			all = append(all, changedPairs(size, changes, max(8, 200_000/size)))
		}
	}
	for _, p := range all {
		if err := encode(p, rounds, period); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

func encode(p pairs, rounds int, period time.Duration) error {
	var enc delta.Encoder
	var buf []byte
	fossil := func(i int) { buf = enc.AppendFossil(buf[:0], p.bases[i], p.targets[i]) }
	vcdiff := func(i int) { buf = enc.AppendVCDIFF(buf[:0], p.bases[i], p.targets[i]) }
	var theirs []byte
	other := func(i int) { theirs = fdelta.Create(p.bases[i], p.targets[i]) }

	var text, sizes [3]int
	for i := range p.bases {
		text[0] += len(p.targets[i])
		fossil(i)
		sizes[0] += len(buf)
		got, err := fdelta.Apply(p.bases[i], buf)
		if err != nil || !bytes.Equal(got, p.targets[i]) {
			return fmt.Errorf("encode %s: fdelta does not rebuild our delta: %v", p.name, err)
		}
		other(i)
		sizes[1] += len(theirs)
		if got, err := delta.ApplyFossil(nil, p.bases[i], theirs, 1<<20); err != nil || !bytes.Equal(got, p.targets[i]) {
			return fmt.Errorf("encode %s: we do not rebuild fdelta's delta: %v", p.name, err)
		}
		vcdiff(i)
		sizes[2] += len(buf)
	}
	if sizes[0] > sizes[1] {
		return fmt.Errorf("encode %s: our deltas are larger than fdelta's: %d bytes, %d", p.name, sizes[0], sizes[1])
	}
	n := len(p.bases)
	time1 := func(f func(int)) float64 {
		loops, t := 0, time.Now()
		for time.Since(t) < period {
			for i := range n {
				f(i)
			}
			loops++
		}
		return float64(time.Since(t).Nanoseconds()) / float64(loops*n)
	}
	var a, b, c, ratios []float64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range n {
		fossil(i)
		vcdiff(i)
	}
	runtime.ReadMemStats(&after)
	runs := []func(){
		func() { a = append(a, time1(fossil)) }, func() { b = append(b, time1(other)) }, func() { c = append(c, time1(vcdiff)) },
	}
	for round := range rounds {
		order := slices.Clone(runs)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, run := range order {
			run()
		}
		ratios = append(ratios, b[round]/a[round])
	}
	r := spreadOf(ratios)
	mean := func(total int) float64 { return float64(total) / float64(n) }
	fmt.Printf("| %s | %.0f B | %.2f us | %.2f us | %.1f (%.1f-%.1f) | %.0f B | %.0f B (%+.0f %%) | %.2f us | %.0f B | %.2f |\n",
		p.name, mean(text[0]), spreadOf(a).median/1e3, spreadOf(b).median/1e3, r.median, r.low, r.high,
		mean(sizes[0]), mean(sizes[1]), 100*(mean(sizes[1])/mean(sizes[0])-1), spreadOf(c).median/1e3, mean(sizes[2]),
		float64(after.Mallocs-before.Mallocs)/float64(2*n))
	return nil
}
