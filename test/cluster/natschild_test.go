package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// natsChildEnv makes this test binary a NATS server, so that one can be killed.
const natsChildEnv = "NATS_CHILD"

type natsChildSettings struct {
	Name string
	Port int
	Dir  string
	// ClusterPort and Routes make it one of a cluster.
	ClusterPort int
	Routes      []string
	// Config is a file that says everything instead. It is read again on SIGHUP.
	Config string
	clock  `json:"-"`
}

func serveNATS(text string) error {
	var set natsChildSettings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return err
	}
	opt := &server.Options{
		ServerName: set.Name, Host: "127.0.0.1", Port: set.Port, JetStream: true, StoreDir: set.Dir, NoSigs: true, NoLog: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
	}
	if len(set.Routes) > 0 {
		opt.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: set.ClusterPort}
		opt.Routes = server.RoutesFromStr(strings.Join(set.Routes, ","))
	}
	if set.Config != "" {
		var err error
		if opt, err = server.ProcessConfigFile(set.Config); err != nil {
			return err
		}
		opt.NoLog = true
	}
	s, err := server.NewServer(opt)
	if err != nil {
		return err
	}
	go s.Start()
	// The parent holds the other end; when it is gone so are we.
	_, _ = os.Stdin.Read(make([]byte, 1))
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// natsChild is a NATS server in a process of its own.
type natsChild struct {
	t   *testing.T
	set natsChildSettings
	cmd *exec.Cmd
}

func spawnNATS(t *testing.T) *natsChild {
	t.Helper()
	c := &natsChild{t: t, set: natsChildSettings{Name: "child", Port: fault.Ports(t, 1)[0], Dir: t.TempDir()}}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *natsChild) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", c.set.Port) }

// spawnNATSCluster runs a server for each clock, which keep the log together.
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
		c := &natsChild{t: t, set: natsChildSettings{
			Name: fmt.Sprint("child-", i), Port: free[i], Dir: t.TempDir(), ClusterPort: free[n+i], Routes: routes, clock: clocks[i],
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
	text, err := json.Marshal(c.set)
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = c.set.command(natsChildEnv, string(text))
	if _, err := c.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
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

func (c *natsChild) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	_ = c.cmd.Wait()
}

func urlsOf(servers []*natsChild) (out []string) {
	for _, s := range servers {
		out = append(out, s.url())
	}
	return out
}

// leaderOf is the server that leads the stream of an app.
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
