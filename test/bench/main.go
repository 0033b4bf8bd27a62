package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/workload"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "reader" {
		exit(readerMain(os.Args[2:]))
		return
	}
	short := flag.Bool("short", false, "the short form: 1,000 sockets, 1 KB, three rounds")
	rounds := flag.Int("rounds", 5, "rounds of every variant")
	socketList := flag.String("sockets", "1000,5000,10000", "numbers of sockets")
	sizeList := flag.String("sizes", "200,1024,4096", "payload sizes in bytes")
	period := flag.Duration("period", 600*time.Millisecond, "about how long one round of a variant lasts")
	flag.Parse()
	if *short {
		*rounds, *socketList, *sizeList, *period = 3, "1000", "1024", 300*time.Millisecond
	}
	sockets, err := numbers(*socketList)
	exit(err)
	sizes, err := numbers(*sizeList)
	exit(err)
	fmt.Printf("Run at %s.\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	describeMachine()
	exit(latency(*short))
	fanoutHeader()
	for _, n := range sockets {
		for _, size := range sizes {
			exit(fanout(n, fmt.Sprintf("%d B", size), fixed(size), app.Delta{}, *rounds, *period))
		}
		if *short {
			break
		}
	}
	for _, n := range sockets {
		for _, name := range []string{"ticker", "game", "telemetry"} {
			s := streamNamed(name)
			src := &source{event: s.Event, next: s.Next}
			exit(fanout(n, name+", deltas off", src, app.Delta{}, *rounds, *period))
			s = streamNamed(name)
			src = &source{event: s.Event, next: s.Next}
			exit(fanout(n, name+", deltas on", src, app.Delta{
				Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100, Path: s.KeyPath,
			}, *rounds, *period))
		}
	}
}

func streamNamed(name string) *workload.Stream {
	for _, s := range workload.All() {
		if s.Name == name {
			return s
		}
	}
	panic("no stream " + name)
}

func numbers(list string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 2 {
			return nil, fmt.Errorf("%q is not a list of numbers above 1", list)
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
