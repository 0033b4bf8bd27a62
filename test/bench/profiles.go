package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // for processes of the benchmark itself
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// profiler records where a process of a target serves profiles, and returns that address.
func (t *target) profiler(process string, port int) string {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	t.profilers[process] = address
	return address
}

// serveProfiles serves profiles of this process until it ends.
func serveProfiles(address string) {
	go func() {
		exit(http.ListenAndServe(address, nil))
	}()
}

// profile takes CPU profiles of all processes for a period of whole seconds, at least one, and writes them to
// files in dir. The function that it returns waits for them.
func (t *target) profile(ctx context.Context, dir, prefix string, period time.Duration) func() error {
	var group sync.WaitGroup
	errs := make(chan error, len(t.profilers))
	for process, address := range t.profilers {
		group.Go(func() {
			url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, max(1, int(period.Seconds())))
			errs <- fetch(ctx, url, filepath.Join(dir, prefix+t.name+"-"+process+".prof"))
		})
	}
	return func() error {
		group.Wait()
		close(errs)
		var all error
		for err := range errs {
			all = errors.Join(all, err)
		}
		return all
	}
}

// fetch writes the contents of a URL to a file.
func fetch(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, answer.Body)
	return errors.Join(err, f.Close())
}
