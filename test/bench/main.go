package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/workload"
)

// scale sets the duration and size of benchmarks.
type scale struct {
	short         bool
	rounds        int
	sockets       []int
	sizes         []int
	period        time.Duration
	only, streams []string

	// The fields below are for publish and load.
	logs, ways, kinds    []string
	rates                []int
	publishPeriod        time.Duration
	programs, peer, pids string
	profiles             string // a directory
	results              results
}

// results holds what publish and load have measured, for other programs.
type results struct {
	When    string        `json:"when"`
	Publish []*record     `json:"publish,omitempty"`
	Load    []*loadRecord `json:"load,omitempty"`
}

// parts lists the benchmarks in the order in which they run.
var parts = []struct {
	name string
	run  func(s *scale) error
}{
	{"latency", func(s *scale) error { return latency(s.short) }},
	{"backends", func(s *scale) error {
		return compareBackends(pick(s.short, 5, 30), pick(s.short, time.Second, 4*time.Second))
	}},
	{"million", func(s *scale) error { return million(pick(s.short, 50_000, 1_000_000)) }},
	{"encode", func(s *scale) error { return encoders(s.rounds, s.period/20) }},
	{"wire", func(s *scale) error { return wires(pick(s.short, 500, 5000)) }},
	{"key", func(s *scale) error { return keys(pick(s.short, 1, 3)) }},
	{"memory", func(s *scale) error {
		if err := residents(pick(s.short, 1000, 5000), pick(s.short, 1, 3)); err != nil {
			return err
		}
		return subscriptions(pick(s.short, 500, 2000), 50)
	}},
	{"tls", func(s *scale) error {
		return tlsCosts(pick(s.short, 1000, 5000), s.rounds, s.period)
	}},
	{"gc", func(s *scale) error { return collections(pick(s.short, 1000, 10000), 10) }},
	{"coalesce", func(s *scale) error { return coalesce(s.sockets[0], s.rounds, s.period) }},
	{"library", func(s *scale) error { return library(s.sockets[0], s.rounds, s.period) }},
	{"slow", func(s *scale) error { return slow(s.sockets[0], s.rounds, s.period) }},
	{"delta", func(s *scale) error {
		onOffHeader()
		for _, n := range s.sockets {
			if 2*n > 15000 {
				continue // two hubs of this size need too many descriptors
			}
			for _, name := range []string{"ticker", "game", "telemetry", "book"} {
				if err := onOff(n, name, s.rounds, s.period); err != nil {
					return err
				}
			}
		}
		fmt.Println()
		return nil
	}},
	{"fanout", fanouts},
	{"publish", publishing},
	{"load", loads},
	{"centrifuge", func(s *scale) error {
		versusHeader()
		for _, n := range slices.DeleteFunc(slices.Clone(s.sockets), func(n int) bool { return n > 5000 }) {
			for _, stream := range s.streams {
				for _, deltas := range []bool{false, true}[:min(len(stream), 1)+1] {
					if err := versus(n, stream, deltas, s.rounds, s.period); err != nil {
						return err
					}
				}
			}
		}
		fmt.Println()
		return nil
	}},
}

func pick[T any](short bool, a, b T) T {
	if short {
		return a
	}
	return b
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "reader":
			exit(readerMain(os.Args[2:]))
			return
		case "nats":
			exit(natsMain(os.Args[2:]))
			return
		case "profiled-nats":
			last := len(os.Args) - 1
			serveProfiles(os.Args[last])
			exit(natsMain(os.Args[2:last]))
			return
		case "tlsround":
			exit(tlsRoundMain(os.Args[2:]))
			return
		case "tlsreader":
			exit(tlsReaderMain(os.Args[2:]))
			return
		case "resident":
			exit(residentMain(os.Args[2:]))
			return
		}
	}
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	short := flag.Bool("short", false, "the short form: 1,000 sockets, three short rounds")
	rounds := flag.Int("rounds", 5, "rounds of every variant")
	socketList := flag.String("sockets", "1000,5000,10000", "numbers of sockets")
	sizeList := flag.String("sizes", "200,1024,4096", "payload sizes in bytes")
	period := flag.Duration("period", 600*time.Millisecond, "about how long one round of a variant lasts")
	only := flag.String("only", "", "comma-separated parts to run, of "+strings.Join(names, ", ")+"; all if empty")
	programList := flag.String("sluice", "", "for publish and load: programs to compare in turns, `name=path`,...; the present tree if empty")
	peer := flag.String("peer", "", "for publish and load: another server of the protocol, `http://KEY:SECRET@HOST:PORT/apps/ID`; several nodes with commas")
	pids := flag.String("peer-pids", "", "ids of its processes, with commas, for their processor time")
	logList := flag.String("logs", "r1,r3,embedded", "for publish: one external NATS server, three, the one in the gateway")
	wayList := flag.String("ways", "", "for publish: some of "+wayNames()+"; all if empty")
	rateList := flag.String("rates", "200,500,1000,2000,3000,4000,5000", "for load: publishes per second; with 0 the processor time per second of rest")
	kindList := flag.String("connections", "kept,new", "for load: kept connections, or a new one for each publish")
	jsonFile := flag.String("json", "", "for publish and load: `file` for the results")
	profiles := flag.String("profiles", "", "for publish and load: `directory` for CPU profiles of gateways and NATS servers, one for each way or rate and program")
	profile := flag.String("profile", "", "file for a CPU profile of the whole run")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		exit(err)
		exit(pprof.StartCPUProfile(f))
		defer func() { pprof.StopCPUProfile(); exit(f.Close()) }()
	}
	if *short {
		*rounds, *socketList, *sizeList, *period = 3, "1000", "1024", 300*time.Millisecond
	}
	s := &scale{
		short: *short, rounds: *rounds, period: *period, streams: []string{"", "game"}, publishPeriod: pick(*short, 500*time.Millisecond, 2*time.Second),
		logs: strings.Split(*logList, ","), kinds: strings.Split(*kindList, ","), programs: *programList, peer: *peer, pids: *pids, profiles: *profiles,
	}
	if *wayList != "" {
		s.ways = strings.Split(*wayList, ",")
	}
	var err error
	s.rates, err = numbers(*rateList, 0)
	exit(err)
	s.sockets, err = numbers(*socketList, 2)
	exit(err)
	s.sizes, err = numbers(*sizeList, 2)
	exit(err)
	if *only != "" {
		s.only = strings.Split(*only, ",")
	}
	for _, name := range s.only {
		if !slices.Contains(names, name) {
			exit(fmt.Errorf("-only %s: must be some of %s", name, strings.Join(names, ", ")))
		}
	}
	fmt.Printf("Run at %s.\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	describeMachine()
	for _, p := range parts {
		if len(s.only) == 0 || slices.Contains(s.only, p.name) {
			fmt.Printf("### %s\n\n", p.name)
			exit(p.run(s))
		}
	}
	if *jsonFile != "" {
		s.results.When = time.Now().UTC().Format(time.RFC3339)
		text, err := json.MarshalIndent(s.results, "", "  ")
		exit(err)
		exit(os.WriteFile(*jsonFile, append(text, '\n'), 0o644))
	}
}

// targets starts all programs and the peer.
func (s *scale) targets(dir string, gateways, copies int) (all []*target, stop func(), err error) {
	stop = func() {
		for _, t := range all {
			t.stop()
		}
	}
	list, err := programs(s.programs, dir)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range list {
		t, err := startTarget(p, dir, gateways, copies, s.profiles != "")
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, t)
	}
	if s.peer != "" {
		t, err := peerTarget(s.peer, s.pids)
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, t)
	}
	return all, stop, nil
}

func wayNames() string {
	var out []string
	for _, w := range ways {
		out = append(out, w.name)
	}
	return strings.Join(out, ", ")
}

// fanouts compares this product's fan-out with the raw limit.
func fanouts(s *scale) error {
	fanoutHeader()
	for _, n := range s.sockets {
		for _, size := range s.sizes {
			if err := fanout(n, fmt.Sprintf("%d B", size), fixed(size), noDeltas, s.rounds, s.period); err != nil {
				return err
			}
		}
	}
	for _, n := range s.sockets {
		for _, name := range []string{"ticker", "game", "telemetry"} {
			for _, label := range []string{"off", "on"} {
				stream, deltas := streamNamed(name), noDeltas
				if label == "on" {
					deltas = app.Delta{
						Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100, Path: stream.KeyPath,
					}
				}
				src := &source{event: stream.Event, next: stream.Next}
				if err := fanout(n, name+", deltas "+label, src, deltas, s.rounds, s.period); err != nil {
					return err
				}
			}
		}
	}
	fmt.Println()
	return nil
}

func streamNamed(name string) *workload.Stream {
	for _, s := range workload.All() {
		if s.Name == name {
			return s
		}
	}
	panic("no stream " + name)
}

func numbers(list string, least int) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < least {
			return nil, fmt.Errorf("%q is not a list of numbers from %d on", list, least)
		}
		out = append(out, n)
	}
	return out, nil
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
