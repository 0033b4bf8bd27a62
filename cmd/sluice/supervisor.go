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

// supervisor tells systemd, or whoever else gave the process a socket for it
// (NOTIFY_SOCKET), how the server is. Without one it does nothing.
type supervisor struct {
	log *slog.Logger
	// stopping is how long the server may take to stop.
	stopping time.Duration
	// alive answers when the server does, however it is, and prefix begins the paths at which it does.
	alive  http.Handler
	prefix string
	// said tells of a supervisor that does not listen.
	said seldom.Lines
}

// ready says that the server serves, and lets the watchdog know of it until the function
// that it returns is called, which waits for the end.
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

// watch asks the server itself, as /ready is asked, so that one that is stuck is noticed:
// then nothing is told any more, and the supervisor starts it anew.
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

// waiting says that the server cannot serve yet and why, and asks for more time.
func (s *supervisor) waiting(why error) {
	s.tell("STATUS=The log cannot be opened, which is tried again: " + strings.ReplaceAll(oneLine(why), "\n", "; ") +
		"\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt((30*waitPause).Microseconds(), 10))
}

// reloading says that the configuration is read again, until the function that it returns
// is called.
func (s *supervisor) reloading() (done func()) {
	s.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	return func() { s.tell(daemon.SdNotifyReady) }
}

// leaving says that the server was asked to stop, and how long that may take.
func (s *supervisor) leaving() {
	s.tell(daemon.SdNotifyStopping + "\nSTATUS=Clients are asked to come back elsewhere\nEXTEND_TIMEOUT_USEC=" +
		strconv.FormatInt(s.stopping.Microseconds(), 10))
}

// unread is how long a supervisor may leave unread what it is told. The library has no such
// bound, and the server must not stand still because its supervisor does.
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

// unheard takes an answer that nobody reads.
type unheard struct{ header http.Header }

func (u unheard) Header() http.Header         { return u.header }
func (u unheard) Write(b []byte) (int, error) { return len(b), nil }
func (u unheard) WriteHeader(int)             {}
