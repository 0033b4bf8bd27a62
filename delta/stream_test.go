package delta_test

import (
	"slices"
	"testing"
	"time"

	"github.com/centrifugal/fdelta"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/test/workload"
)

type pair struct{ base, target []byte }

// pairsOf returns n messages of a stream, each with the previous message of its key.
func pairsOf(s *workload.Stream, n int) []pair {
	last := map[string][]byte{}
	all := make([]pair, 0, n)
	for len(all) < n {
		text, key := s.NextText()
		if base, ok := last[key]; ok {
			all = append(all, pair{base, text})
		}
		last[key] = text
	}
	return all
}

func TestStreamsSurvive(t *testing.T) {
	n := 300
	if raceEnabled || testing.Short() {
		n = 40
	}
	var e delta.Encoder
	var buf []byte
	for _, s := range workload.All() {
		for _, p := range pairsOf(s, n) {
			buf = roundTrip(t, &e, buf, p.base, p.target)
		}
	}
}

func TestDeltasOfStreamsAreSmallerThanThoseOfTheReference(t *testing.T) {
	n := 300
	if raceEnabled || testing.Short() {
		n = 60
	}
	for _, s := range workload.All() {
		t.Run(s.Name, func(t *testing.T) {
			var e delta.Encoder
			full, ours, theirs, vcdiff := 0, 0, 0, 0
			for _, p := range pairsOf(s, n) {
				full += len(p.target)
				ours += len(e.AppendFossil(nil, p.base, p.target))
				theirs += len(fdelta.Create(p.base, p.target))
				vcdiff += len(e.AppendVCDIFF(nil, p.base, p.target))
			}
			t.Logf("full %d, fossil %d, reference %d, VCDIFF %d bytes", full/n, ours/n, theirs/n, vcdiff/n)
			if ours > theirs {
				t.Errorf("our deltas have %d bytes, those of the reference %d", ours, theirs)
			}
			if vcdiff > ours {
				t.Errorf("VCDIFF deltas have %d bytes, fossil deltas %d", vcdiff, ours)
			}
		})
	}
}

// BenchmarkEncode reports the time of both formats, and the time of the reference implementation for the same
// pairs in the same run, alternating every few hundred pairs: x_fdelta is the median of the ratios, so that a
// machine that slows down for a while does not count.
func BenchmarkEncode(b *testing.B) {
	for _, s := range workload.All() {
		all := pairsOf(s, 256)
		for _, c := range codecs {
			b.Run(s.Name+"/"+c.name, func(b *testing.B) {
				var e delta.Encoder
				var buf []byte
				size, theirs := 0, 0
				ours := func() {
					for i := range all {
						buf = c.append(&e, buf[:0], all[i].base, all[i].target)
						size += len(buf)
					}
				}
				ours()
				size = 0
				b.ReportAllocs()
				rounds := 0
				for b.Loop() {
					ours()
					rounds++
				}
				b.StopTimer()
				var ratios []float64
				for range 15 {
					begun := time.Now()
					ours()
					middle := time.Now()
					for i := range all {
						buf = fdelta.AppendCreate(buf[:0], all[i].base, all[i].target)
						theirs += len(buf)
					}
					ratios = append(ratios, float64(time.Since(middle))/float64(middle.Sub(begun)))
				}
				slices.Sort(ratios)
				n := float64(rounds+15) * float64(len(all))
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*len(all)), "ns/delta")
				b.ReportMetric(float64(size)/n, "B/delta")
				b.ReportMetric(float64(theirs)/float64(15*len(all)), "fdelta_B/delta")
				b.ReportMetric(ratios[len(ratios)/2], "x_fdelta")
			})
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for _, s := range workload.All() {
		all := pairsOf(s, 64)
		for _, c := range codecs {
			var e delta.Encoder
			deltas := make([][]byte, len(all))
			for i, p := range all {
				deltas[i] = c.append(&e, nil, p.base, p.target)
			}
			b.Run(s.Name+"/"+c.name, func(b *testing.B) {
				var buf []byte
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					var err error
					if buf, err = c.apply(buf[:0], all[i].base, deltas[i], 1<<20); err != nil {
						b.Fatal(err)
					}
					i = (i + 1) % len(all)
				}
			})
		}
	}
}
