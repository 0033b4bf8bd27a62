package natsd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Build builds the program into dir and returns its path. It takes some seconds, the first time a minute.
func Build(dir string) (string, error) {
	path := filepath.Join(dir, "natsd")
	build := exec.Command("go", "build", "-o", path, "github.com/sluicehq/sluice/test/natsd/program")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the NATS server: %w\n%s", err, out)
	}
	return path, nil
}

// Child is a server in a process of its own. Its methods are safe for concurrent use.
type Child struct {
	cmd *exec.Cmd

	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// Start runs the program with additional environment variables. It does not wait until the server answers.
func Start(program string, set Settings, env ...string) (*Child, error) {
	text, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: exec.Command(program)}
	c.cmd.Env = append(append(os.Environ(), Env+"="+string(text)), env...)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

// Signal sends a signal to the process.
func (c *Child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// Kill kills the process. It may be called repeatedly.
func (c *Child) Kill() {
	_ = c.Signal(syscall.SIGKILL)
	_ = c.cmd.Wait()
}

// Stop shuts the server down in order and waits for it. It may be called repeatedly.
func (c *Child) Stop() {
	c.mu.Lock()
	_ = c.in.Close()
	c.mu.Unlock()
	_ = c.cmd.Wait()
}

// State asks the server for its state in the cluster.
func (c *Child) State() (s State, err error) {
	line, err := c.tell("state")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(line), &s)
}

// Cut closes two of three client connections whose names end with suffix, which must not contain spaces.
func (c *Child) Cut(suffix string, seed uint64) error {
	_, err := c.tell(fmt.Sprintf("cut %s %d", suffix, seed))
	return err
}

func (c *Child) tell(line string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return "", err
	}
	answer, err := c.out.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the server ended before it had answered %q", line)
	}
	return answer, err
}
