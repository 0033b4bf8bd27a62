package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// child is the process that holds the clients.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts a child with a number of clients that speak "plain", "delta", "centrifuge" or
// "centrifuge-delta".
func startChild(address string, sockets int, channel, speaks string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, "reader", address, strconv.Itoa(sockets), channel, speaks)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		return nil, fmt.Errorf("the reader did not get ready: %q %v", line, err)
	}
	return c, nil
}

// bytes returns how many bytes the child has read.
func (c *child) bytes() (int64, error) {
	if _, err := io.WriteString(c.in, "?\n"); err != nil {
		return 0, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}

// await waits until exactly want bytes have been read.
func (c *child) await(want int64) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		got, err := c.bytes()
		if err != nil {
			return err
		}
		if got == want {
			return nil
		}
		if got > want || time.Now().After(deadline) {
			return fmt.Errorf("%d bytes were sent and %d arrived", want, got)
		}
	}
}

func (c *child) stop() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// kill kills a child whose connections may be gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
