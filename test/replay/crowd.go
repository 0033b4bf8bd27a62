package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/client"
)

// readersOf is the environment variable that makes this program ten readers of history of the gateway at its
// value. They read until the standard input ends, and then print how many pages they read.
const readersOf = "REPLAY_READERS_OF"

// crowd is ten readers in a process of their own, which shares neither the clock, the heap nor the scheduler
// of the measuring process.
type crowd struct {
	cmd *exec.Cmd
	in  io.Closer
	out strings.Builder
}

func spawnReaders(ctx context.Context, url string, nice int) (*crowd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crowd{cmd: exec.CommandContext(ctx, "nice", "-n", strconv.Itoa(nice), self)}
	c.cmd.Env = append(os.Environ(), readersOf+"="+url)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// end stops the readers and returns how many pages they read.
func (c *crowd) end() (pages int64, err error) {
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return 0, fmt.Errorf("the readers: %w", err)
	}
	_, err = fmt.Sscan(c.out.String(), &pages)
	return pages, err
}

// serveReaders is the main function of the process of the readers.
func serveReaders(url string) error {
	api, err := client.NewSigned(client.SignedOptions{URL: url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var pages atomic.Int64
	var ten sync.WaitGroup
	for n := range 10 {
		ten.Go(func() {
			for ctx.Err() == nil {
				if _, err := walk(ctx, api, n%2 == 0, &pages); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "replay: a reader:", err)
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	end()
	ten.Wait()
	_, err = fmt.Println(pages.Load())
	return err
}
