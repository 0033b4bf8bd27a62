package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/client"
)

// tally counts events for the summary. It is safe for concurrent use: the reading goroutine of the connection
// and the printing one use it.
type tally struct {
	started time.Time

	mu         sync.Mutex
	forms      [3]int
	wire, full int
	lost       int // connections
	undecoded  int
	gaps       int
}

// begin records that events are expected from now on.
func (t *tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started.IsZero() {
		t.started = time.Now()
	}
}

func (t *tally) add(ev client.Event) {
	t.begin()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forms[ev.Form]++
	t.wire += ev.WireBytes
	t.full += ev.FullBytes
}

func (t *tally) events() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forms[client.Plain] + t.forms[client.Full] + t.forms[client.Delta]
}

func (t *tally) status(stderr io.Writer, s client.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var undecodable *client.DeltaError
	switch {
	case s.Gap != nil && s.Gap.Code == client.NotRecoverable:
		// It is reported with Recovered when the connection is restored, for all channels together.
	case s.Gap != nil:
		t.gaps++
		fmt.Fprintln(stderr, gapLine(s.Gap))
	case s.Recovered != nil:
		for i := range s.Recovered.Gaps {
			if s.Recovered.Gaps[i].Code == client.NotRecoverable {
				t.gaps++
			}
		}
		fmt.Fprintln(stderr, t.returned(s.Recovered))
	case errors.As(s.Err, &undecodable):
		t.undecoded++
		fmt.Fprintf(stderr, "an event was lost: %v\n", s.Err)
	case s.Connected && s.Err != nil:
		fmt.Fprintf(stderr, "%v\n", s.Err)
	case s.Connected:
		// Missed events are being requested.
	default:
		if t.lost++; s.Retry > 0 {
			fmt.Fprintf(stderr, "%v; next try in %v\n", s.Err, s.Retry.Round(time.Millisecond))
		} else {
			fmt.Fprintf(stderr, "%v; trying again\n", s.Err)
		}
	}
}

// returned describes how a restored connection continues.
func (t *tally) returned(r *client.Recovery) string {
	switch {
	case len(r.Gaps) == 0 && r.Events == 0:
		return "connected again; nothing was missed"
	case len(r.Gaps) == 0:
		return "connected again; nothing was missed, " + counted(r.Events, "event") + " came late"
	case r.Channels == 0 && r.Gaps[0].Code == client.NotRecoverable:
		return "connected again; events may have been missed: " + shorten(r.Gaps[0].Reason, 200)
	}
	names := make([]string, 0, len(r.Gaps))
	for i := range r.Gaps {
		names = append(names, r.Gaps[i].Channel)
	}
	return "connected again; events were missed on " + strings.Join(names, ", ")
}

// gapLine describes a gap.
func gapLine(g *client.Gap) string {
	what := "events of " + g.Channel + " missed"
	if n := g.Most(); n > 0 {
		what = fmt.Sprintf("up to %d %s (serials %d to %d)", n, what, g.After+1, g.Live)
	}
	return fmt.Sprintf("%s: %s (%s)", what, shorten(g.Reason, 200), shorten(g.Code, 64))
}

// control prints the end of a rewind or snapshot, and events that were skipped because this command is too slow.
func (t *tally) control(stderr io.Writer, ev client.Event) {
	v := gjson.Parse(ev.Data)
	_, name, _ := strings.Cut(ev.Name, ":")
	line := ""
	switch name {
	case "rewind_complete":
		line = fmt.Sprintf("%s: %s of the past, live from here", ev.Channel, counted(int(v.Get("historical_count").Int()), "event"))
		if v.Get("truncated_by_limit").Bool() {
			line += "; the server gives no more at once"
		}
		if v.Get("truncated_by_retention").Bool() {
			line += "; older ones are no longer retained"
		}
	case "snapshot_complete":
		line = fmt.Sprintf("%s: the newest of %s, live from here", ev.Channel, counted(int(v.Get("count").Int()), "value"))
		if !v.Get("complete").Bool() {
			line += "; there are more"
		}
	case "conflated":
		line = fmt.Sprintf("%s: %s gave way to newer ones", ev.Channel, counted(int(v.Get("skipped").Int()), "event"))
	case "cache_miss":
		line = ev.Channel + ": the cache is empty: nothing was published, or it was too long ago"
	case "member_added":
		line = fmt.Sprintf("%s: %s has come %s", ev.Channel, shorten(v.Get("user_id").String(), 100), shorten(v.Get("user_info").Raw, 200))
	case "member_removed":
		line = fmt.Sprintf("%s: %s has left", ev.Channel, shorten(v.Get("user_id").String(), 100))
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(stderr, line)
}

// sealed prints that an event cannot be decrypted.
func (t *tally) sealed(stderr io.Writer, ev client.Event, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(stderr, "%s: an event cannot be decrypted: %v\n", ev.Channel, err)
}

// print prints the summary, unless nothing was expected yet.
func (t *tally) print(stderr io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started.IsZero() {
		return
	}
	n := t.forms[client.Plain] + t.forms[client.Full] + t.forms[client.Delta]
	fmt.Fprintf(stderr, "\n%s in %v: %d full, %d as delta\n", counted(int(n), "event"), time.Since(t.started).Round(100*time.Millisecond),
		t.forms[client.Plain]+t.forms[client.Full], t.forms[client.Delta])
	if n > 0 {
		saved := t.full - t.wire
		fmt.Fprintf(stderr, "%s received, %d without deltas: %d saved (%.1f %%)\n", counted(t.wire, "byte"), t.full, saved, 100*float64(saved)/float64(t.full))
	}
	if t.gaps > 0 {
		fmt.Fprintf(stderr, "events were missed, or may have been, %d times\n", t.gaps)
	}
	if t.undecoded > 0 {
		fmt.Fprintf(stderr, "%d deltas could not be decoded\n", t.undecoded)
	}
}
