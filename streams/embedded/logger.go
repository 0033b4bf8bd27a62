package embedded

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/sluicehq/sluice/broker/seldom"
)

// adapter passes the server's log on. A fatal message does not end the process,
// as the stock logger's would; it is kept, because it is the reason why a start
// failed.
type adapter struct {
	log *slog.Logger
	// lines keeps what repeats from filling the log: whoever reaches the port may have the
	// server refuse as much as he likes, and an error of the disk occurs with each event.
	lines seldom.Lines
	mu    sync.Mutex
	why   string
	// unstored is what the server said when it could not store something.
	unstored string
}

// broken is why a stream stores nothing any more, empty if the server did not say so.
func (a *adapter) broken() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unstored
}

func (a *adapter) fatal() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.why
}

func (a *adapter) Fatalf(format string, v ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.why == "" {
		a.why = fmt.Sprintf(format, v...)
	}
}

func (a *adapter) Noticef(format string, v ...any) {
	a.log.Debug("nats-server", "says", fmt.Sprintf(format, v...))
}

func (a *adapter) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	// The passwords are made at random at each start and never leave the
	// process, so the advice to hash them is for others.
	if strings.HasPrefix(text, "Plaintext passwords detected") {
		a.log.Debug("nats-server", "says", text)
		return
	}
	a.lines.Warn(a.log, "warning "+cause(format, text), "nats-server", "says", text)
}

func (a *adapter) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	// Both are said of errors after which a stream refuses everything. Its health says
	// so as well, but not while there is no descriptor to look with.
	if strings.Contains(text, "failed to store a msg") || strings.Contains(text, "ritical write error") {
		a.mu.Lock()
		a.unstored = text
		a.mu.Unlock()
	}
	a.lines.Error(a.log, "error "+cause(format, text), "nats-server", "says", text)
}

// cause tells apart what the server says. What it says of a client has the name that the client
// chose for itself at the beginning of its format, and what the client sent in its text, so
// only the end of the format counts.
func cause(format, text string) string {
	if !strings.Contains(format, "cid:") {
		return text
	}
	return format[strings.LastIndex(format, " - ")+1:]
}

func (a *adapter) Debugf(string, ...any) {}
func (a *adapter) Tracef(string, ...any) {}
