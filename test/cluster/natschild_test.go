package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsChildEnv makes this test binary a NATS server, so that one can be killed.
const natsChildEnv = "NATS_CHILD"

type natsChildSettings struct {
	Port int
	Dir  string
}

func serveNATS(text string) error {
	var set natsChildSettings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "child", Host: "127.0.0.1", Port: set.Port, JetStream: true, StoreDir: set.Dir, NoSigs: true, NoLog: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
	})
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
	c := &natsChild{t: t, set: natsChildSettings{Port: ports(t, 1)[0], Dir: t.TempDir()}}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *natsChild) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", c.set.Port) }

// start runs the server and waits until it answers.
func (c *natsChild) start() {
	c.t.Helper()
	text, err := json.Marshal(c.set)
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), natsChildEnv+"="+string(text))
	if _, err := c.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
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
