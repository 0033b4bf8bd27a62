package redisserver

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// patience bounds the time that a server may take for one step.
const patience = 3 * time.Minute

// answerTime bounds the time that one answer may take.
const answerTime = 30 * time.Second

// Server is one redis-server process.
type Server struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
}

// Start runs a server with additional arguments, such as --appendonly yes. By default it stores nothing on
// disk.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed (Debian's package redis-server): ", err)
	}
	s := &Server{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(s.Kill)
	// Another process may take the port after it was found free.
	for try := 0; ; try++ {
		s.port = fault.Ports(t, 1)[0]
		err := s.run()
		if err == nil {
			return s
		}
		if try == 4 {
			t.Fatal(err)
		}
	}
}

func (s *Server) run() error {
	args := append([]string{
		"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--logfile", s.dir + "/log",
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func(cmd *exec.Cmd) { _ = cmd.Wait(); close(ended) }(s.cmd)
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.command("PING") == "+PONG" {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("redis-server on port %d ended at once", s.port)
		case <-deadline:
			return fmt.Errorf("redis-server on port %d does not answer", s.port)
		case <-tick.C:
		}
	}
}

// command sends an inline command and returns the first line of the answer.
func (s *Server) command(line string) string {
	c, err := net.DialTimeout("tcp", s.Addr(), answerTime)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(answerTime))
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return ""
	}
	answer, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer)
}

// Do sends a command that must succeed, words separated by spaces, and returns the
// first line of the answer.
func (s *Server) Do(line string) string {
	s.t.Helper()
	answer := s.command(line)
	if answer == "" || answer[0] == '-' {
		s.t.Fatalf("%s: %s", line, answer)
	}
	return answer
}

// Addr returns host and port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// URL returns the redis_url of the server for a configuration.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Kill ends the process with SIGKILL.
func (s *Server) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for s.cmd.Process.Signal(syscall.Signal(0)) == nil {
		select {
		case <-deadline:
			s.t.Error("redis-server does not die")
			return
		case <-tick.C:
		}
	}
}

// Restart starts a killed server on its files and port.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}
