package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/natsd"
)

// natsCluster has three NATS servers that can be stopped and started.
type natsCluster struct {
	t       *testing.T
	servers []*natsChild
	// stopped says which servers are stopped.
	stopped [3]bool
}

// startNATS runs three servers, with settings changed by change, and waits until they have a leader.
func startNATS(t *testing.T, change ...func(*natsd.Settings)) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t}
	free := fault.Ports(t, 6)
	var routes []string
	for _, port := range free[3:] {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", port))
	}
	for i := range 3 {
		child := &natsChild{t: t, set: natsd.Settings{
			Name: fmt.Sprint("n", i), Port: free[i], ClusterPort: free[3+i], Routes: routes, Dir: t.TempDir(), Sync: time.Second,
		}}
		for _, f := range change {
			f(&child.set)
		}
		c.servers = append(c.servers, child)
		child.run()
		t.Cleanup(child.kill)
	}
	c.settle(3)
	return c
}

// run starts a server that was stopped.
func (c *natsCluster) run(i int) {
	c.t.Helper()
	c.servers[i].run()
	c.stopped[i] = false
}

// settle waits until n servers are current and have a leader.
func (c *natsCluster) settle(n int) {
	c.t.Helper()
	eventually(c.t, "the NATS cluster has a leader", func() bool {
		leaders, current := 0, 0
		for _, s := range c.running() {
			is, err := s.State()
			if err != nil {
				c.t.Fatal(err)
			}
			if is.Leads {
				leaders++
			}
			if is.Current {
				current++
			}
		}
		return leaders == 1 && current >= n
	})
}

func (c *natsCluster) running() (out []*natsChild) {
	for i, s := range c.servers {
		if !c.stopped[i] {
			out = append(out, s)
		}
	}
	return out
}

// stop stops a server in order.
func (c *natsCluster) stop(i int) {
	c.stopped[i] = true
	c.servers[i].Stop()
}

// urls returns the addresses of all servers, running or not.
func (c *natsCluster) urls() []string { return urlsOf(c.servers) }

func (c *natsCluster) String() string { return strings.Join(c.urls(), ",") }
