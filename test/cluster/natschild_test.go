package cluster

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/natsd"
)

// natsProgram is the NATS server that is killed here, built once without the race detector.
var natsProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-natsd-")
	if err != nil {
		return "", err
	}
	natsProgramDir = dir
	return natsd.Build(dir)
})

// natsProgramDir is removed at the end of the tests.
var natsProgramDir string

// natsChild is a NATS server process.
type natsChild struct {
	*natsd.Child
	t     *testing.T
	set   natsd.Settings
	clock clock
}

func spawnNATS(t *testing.T) *natsChild {
	t.Helper()
	c := &natsChild{t: t, set: natsd.Settings{Name: "child", Port: fault.Ports(t, 1)[0], Dir: t.TempDir()}}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *natsChild) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", c.set.Port) }

// spawnNATSCluster runs a cluster with one server for each clock.
func spawnNATSCluster(t *testing.T, clocks ...clock) []*natsChild {
	t.Helper()
	n := len(clocks)
	free := fault.Ports(t, 2*n)
	var routes []string
	for _, port := range free[n:] {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", port))
	}
	out := make([]*natsChild, n)
	for i := range out {
		c := &natsChild{t: t, clock: clocks[i], set: natsd.Settings{
			Name: fmt.Sprint("child-", i), Port: free[i], Dir: t.TempDir(), ClusterPort: free[n+i], Routes: routes,
		}}
		out[i] = c
		c.run()
		t.Cleanup(c.kill)
	}
	for _, c := range out {
		c.answers()
	}
	return out
}

// start runs the server and waits until it answers.
func (c *natsChild) start() {
	c.t.Helper()
	c.run()
	c.answers()
}

func (c *natsChild) run() {
	c.t.Helper()
	program := c.clock.program
	if program == "" {
		var err error
		if program, err = natsProgram(); err != nil {
			c.t.Fatal(err)
		}
	}
	child, err := natsd.Start(program, c.set, c.clock.env())
	if err != nil {
		c.t.Fatal(err)
	}
	c.Child = child
}

func (c *natsChild) answers() {
	c.t.Helper()
	eventually(c.t, "the NATS server answers", func() bool {
		nc, err := nats.Connect(c.url(), nats.Timeout(time.Second))
		if err != nil {
			return false
		}
		defer nc.Close()
		js, err := nc.JetStream(nats.MaxWait(time.Second))
		if err != nil {
			return false
		}
		_, err = js.AccountInfo()
		return err == nil
	})
}

func (c *natsChild) kill() { c.Kill() }

func urlsOf(servers []*natsChild) (out []string) {
	for _, s := range servers {
		out = append(out, s.url())
	}
	return out
}

// leaderOf returns the server that leads the stream of an app.
func leaderOf(t *testing.T, servers []*natsChild, a *app.App) (leader *natsChild) {
	t.Helper()
	nc, err := nats.Connect(strings.Join(urlsOf(servers), ","), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream has a leader", func() bool {
		s, err := js.Stream(t.Context(), streams.StreamOf(a.ID))
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, child := range servers {
			if child.set.Name == s.CachedInfo().Cluster.Leader {
				leader = child
			}
		}
		return leader != nil
	})
	return leader
}
