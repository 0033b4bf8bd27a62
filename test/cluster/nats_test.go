package cluster

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicehq/sluice/test/fault"
)

// natsCluster is three NATS servers that keep the log together.
type natsCluster struct {
	t       *testing.T
	routes  []*url.URL
	options []*server.Options
	mu      sync.Mutex
	servers []*server.Server
}

// startNATS runs three servers, their options changed by whoever wants to, and waits
// until they have a leader.
func startNATS(t *testing.T, change ...func(*server.Options)) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, servers: make([]*server.Server, 3)}
	free := fault.Ports(t, 6)
	for i := range 3 {
		u, err := url.Parse(fmt.Sprintf("nats-route://127.0.0.1:%d", free[3+i]))
		if err != nil {
			t.Fatal(err)
		}
		c.routes = append(c.routes, u)
	}
	for i := range 3 {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: free[i],
			Cluster:   server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: free[3+i]},
			Routes:    c.routes,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
			SyncInterval: time.Second, NoSigs: true, NoLog: true,
		})
		for _, f := range change {
			f(c.options[i])
		}
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.kill(i)
		}
	})
	for i := range 3 {
		c.run(i)
	}
	c.settle(3)
	return c
}

func (c *natsCluster) run(i int) {
	c.t.Helper()
	opts := *c.options[i]
	s, err := server.NewServer(&opts)
	if err != nil {
		c.t.Fatal(err)
	}
	go s.Start()
	c.mu.Lock()
	c.servers[i] = s
	c.mu.Unlock()
	if !s.ReadyForConnections(patience) {
		c.t.Fatal("a NATS server did not start")
	}
}

// settle waits until so many servers are current and have a leader.
func (c *natsCluster) settle(n int) {
	c.t.Helper()
	eventually(c.t, "the NATS cluster has a leader", func() bool {
		leaders, current := 0, 0
		for _, s := range c.all() {
			if s.JetStreamIsLeader() {
				leaders++
			}
			if s.JetStreamIsCurrent() {
				current++
			}
		}
		return leaders == 1 && current >= n
	})
}

func (c *natsCluster) all() []*server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*server.Server
	for _, s := range c.servers {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func (c *natsCluster) kill(i int) {
	c.mu.Lock()
	s := c.servers[i]
	c.servers[i] = nil
	c.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// urls are the addresses of all servers, the running and the others.
func (c *natsCluster) urls() []string {
	var out []string
	for _, o := range c.options {
		out = append(out, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return out
}

func (c *natsCluster) String() string { return strings.Join(c.urls(), ",") }
