package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// checkEvery is how often the store is looked at.
	checkEvery = time.Second
	// firstPause and longestPause lie between two attempts to open the store again.
	firstPause, longestPause = time.Second, time.Minute
	// maxFailures is the number of attempts in a row after which it is given up.
	maxFailures = 5
	// probeFiles and probeBytes are what the directory must take before it is tried.
	probeFiles, probeBytes = 8, 1 << 20
)

// Problems says why the log cannot be written, nothing if it can.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == "" {
		return nil
	}
	return []string{s.problem}
}

// Failed has an error once the store could not be opened again. Nothing but the end of
// the process helps then.
func (s *Server) Failed() <-chan error { return s.failed }

// heal opens the store again after an error of the disk or of the system. The server
// never tries a file again by itself: a stream that could not be written once, for want
// of a descriptor or of room, refuses everything for ever.
func (s *Server) heal() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	pause, failures := firstPause, 0
	var next time.Time
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		why := s.sick()
		if why == "" {
			s.say("")
			if time.Since(next) > longestPause {
				pause = firstPause
			}
			continue
		}
		if s.say("the log cannot be written: " + why) {
			s.opt.Logger.Error("the log cannot be written", "why", why)
		}
		if err := s.probe(); err != nil {
			s.say(fmt.Sprintf("the log cannot be written: %s; its directory takes no files yet: %v", why, err))
			continue
		}
		if time.Now().Before(next) {
			continue
		}
		err := s.reopen()
		next = time.Now().Add(pause)
		pause = min(2*pause, longestPause)
		if err == nil {
			failures = 0
			s.say("")
			s.opt.Logger.Warn("the log was opened again after an error", "error", why)
			continue
		}
		s.opt.Logger.Error("opening the log again failed", "error", err)
		if failures++; failures == maxFailures {
			s.failed <- fmt.Errorf("the log cannot be written (%s), and opening it again failed %d times: %w", why, failures, err)
			return
		}
	}
}

// say notes a problem and reports whether it is news.
func (s *Server) say(problem string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := (s.problem == "") != (problem == "")
	s.problem = problem
	return news
}

// sick says what a server does not get over by itself, empty for nothing.
func (s *Server) sick() string {
	s.mu.Lock()
	n, logs := s.nats, s.logs
	s.mu.Unlock()
	if !n.JetStreamEnabled() {
		return "JetStream has stopped"
	}
	if why := logs.broken(); why != "" {
		return why
	}
	// Other complaints pass, as while streams are made.
	for _, e := range n.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if strings.Contains(e.Error, "write error") {
			return e.Error
		}
	}
	return ""
}

// probe tells whether the directory takes what a store needs. A store that is opened
// while it does not would only break once more.
func (s *Server) probe() (err error) {
	for i := range probeFiles {
		f, openErr := os.OpenFile(filepath.Join(s.opt.StoreDir, fmt.Sprintf("sluice.probe-%d", i)), os.O_CREATE|os.O_RDWR, 0o640)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
		if i > 0 {
			continue
		}
		if _, err = f.Write(make([]byte, probeBytes)); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reopen replaces the server. Clients find the new one as after any restart.
func (s *Server) reopen() error {
	old := s.current()
	old.Shutdown()
	old.WaitForShutdown()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	n, logs, err := s.boot(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.nats, s.logs = n, logs
	s.mu.Unlock()
	return nil
}
