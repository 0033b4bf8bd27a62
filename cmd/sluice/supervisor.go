package main

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/sluicehq/sluice/broker/seldom"
)

// supervisor reports the state of the server to systemd, or to another supervisor that has set NOTIFY_SOCKET.
// Without that it does nothing.
type supervisor struct {
	log *slog.Logger
	// stopping bounds how long the server may take to stop.
	stopping time.Duration
	// alive is the handler of the server, and prefix its path prefix, for the watchdog.
	alive  http.Handler
	prefix string
	// said rate-limits log lines about a supervisor that does not listen.
	said seldom.Lines
}

// ready reports that the server serves, and notifies the watchdog until stop is called, which waits for the
// goroutine.
func (s *supervisor) ready(addr string) (stop func()) {
	s.tell(daemon.SdNotifyReady + "\nSTATUS=Serving on " + addr)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("the watchdog of the supervisor cannot be told that the server lives", "error", err)
	}
	if interval <= 0 {
		return func() {}
	}
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { s.watch(interval/2, end) })
	return func() {
		close(end)
		running.Wait()
	}
}

// watch calls the server's own handler for /ready before each notification. If that hangs, there are no
// notifications any more, and the supervisor restarts the server.
func (s *supervisor) watch(pause time.Duration, end chan struct{}) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if r, err := http.NewRequest(http.MethodHead, "http://127.0.0.1"+s.prefix+"/ready", nil); err == nil {
			r.RemoteAddr = "127.0.0.1:1"
			s.alive.ServeHTTP(unheard{http.Header{}}, r)
		}
		s.tell(daemon.SdNotifyWatchdog)
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// waiting reports why the server cannot serve yet, and asks for more time.
func (s *supervisor) waiting(why error) {
	s.tell("STATUS=The log cannot be opened, which is tried again: " + strings.ReplaceAll(oneLine(why), "\n", "; ") +
		"\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt((30*waitPause).Microseconds(), 10))
}

// reloading reports that the configuration is read again, until done is called.
func (s *supervisor) reloading() (done func()) {
	s.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	return func() { s.tell(daemon.SdNotifyReady) }
}

// leaving reports that the server is stopping, and how long that may take.
func (s *supervisor) leaving() {
	s.tell(daemon.SdNotifyStopping + "\nSTATUS=Clients are asked to come back elsewhere\nEXTEND_TIMEOUT_USEC=" +
		strconv.FormatInt(s.stopping.Microseconds(), 10))
}

// unread bounds how long a notification may wait for the supervisor. The library has no such bound, and the
// server must not hang because its supervisor does.
const unread = time.Second

func (s *supervisor) tell(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	to, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_ = to.SetWriteDeadline(time.Now().Add(unread))
		_, err = to.Write([]byte(state))
		_ = to.Close()
	}
	if err != nil {
		s.said.Warn(s.log, "notify", "the supervisor cannot be told how the server is", "error", err)
	}
}

// unheard is a ResponseWriter that discards the answer.
type unheard struct{ header http.Header }

func (u unheard) Header() http.Header         { return u.header }
func (u unheard) Write(b []byte) (int, error) { return len(b), nil }
func (u unheard) WriteHeader(int)             {}
