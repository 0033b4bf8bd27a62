package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// browser reads channels as a browser's EventSource does: all it keeps of its position is the last event id,
// and it reconnects with that.
type browser struct {
	diary
	// since is the start position while it has no id, "" for live events only.
	since string
	// more holds further query parameters of its requests.
	more url.Values
	// last is the last event id. The mutex of the diary guards it.
	last string
}

func newBrowser(a *app.App, channels ...string) *browser {
	return &browser{diary: newDiary(a, channels)}
}

// reading is one event stream of a browser.
type reading struct {
	b *browser
	// attached holds the positions at which channels began whose missed events are still to come. refused
	// holds the reported gaps of channels that have not begun yet.
	attached   map[string]place
	refused    map[string]told
	waits      map[string]bool
	resumes    bool
	live, done chan struct{}
	cancel     context.CancelFunc
}

func (r *reading) leave() { r.cancel(); <-r.done }

// arrive implements [traveller].
func (b *browser) arrive(ctx context.Context, address string) (<-chan struct{}, func(), error) {
	r, err := b.read(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	return r.done, r.leave, nil
}

var (
	// direct opens a connection for each stream.
	direct = &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: patience}

	errBusy = errors.New("the gateway cannot serve it now")
)

// read requests a stream from a gateway. The stream ends with ctx; after its end the browser may request
// another one.
func (b *browser) read(ctx context.Context, address string) (*reading, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &reading{
		b: b, attached: map[string]place{}, refused: map[string]told{}, waits: map[string]bool{},
		live: make(chan struct{}), done: make(chan struct{}),
	}
	if err := b.rewind(r); err != nil {
		return nil, err
	}
	query := url.Values{"channel": b.channels}
	maps.Copy(query, b.more)
	if b.since != "" {
		query.Set("since", b.since)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/app/"+b.app.Key+"/events?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if b.last != "" {
		req.Header.Set("Last-Event-ID", b.last)
	}
	b.mu.Unlock()
	resp, err := direct.RoundTrip(req)
	b.mu.Lock()
	if err != nil {
		r.cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer r.cancel()
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return nil, errBusy
		}
		text, _ := io.ReadAll(resp.Body)
		b.wrong = append(b.wrong, fmt.Sprintf("with %q: %s: %s", b.last, resp.Status, text))
		return nil, errors.New(resp.Status)
	}
	go r.run(resp.Body)
	return r, nil
}

// rewind resets the browser's positions to those of the last id, and drops events after them.
func (b *browser) rewind(r *reading) error {
	var at []pusher.Place
	if b.last != "" {
		var err error
		if at, err = pusher.ParsePlaces(b.last, b.channels); err != nil {
			b.wrong = append(b.wrong, fmt.Sprintf("the id %q: %v", b.last, err))
			return err
		}
	}
	r.resumes = b.last != ""
	for i, channel := range b.channels {
		r.waits[channel] = true
		switch was, has := b.places[channel]; {
		case b.last != "" && at[i].Stream != "":
			if !has || at[i].Stream == was.Stream && at[i].Serial > was.Serial {
				b.wrong = append(b.wrong, fmt.Sprintf("the id %q says more of %s than came, %+v", b.last, channel, was))
			}
		case has:
			b.wrong = append(b.wrong, fmt.Sprintf("the id %q says nothing of %s, which was live or of which events came", b.last, channel))
		default: // It was on its way.
			delete(b.places, channel)
			delete(b.began, channel)
		}
	}
	return nil
}

// run reads the stream to its end, by the algorithm of the EventSource standard.
func (r *reading) run(body io.ReadCloser) {
	b := r.b
	defer close(r.done)
	defer r.cancel()
	defer body.Close()
	in := bufio.NewReader(body)
	id, kind, data := b.id(), "", []string(nil)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			r.dispatch(id, kind, strings.Join(data, "\n"), len(data) > 0)
			kind, data = "", nil
		case name == "event":
			kind = value
		case name == "data":
			data = append(data, value)
		case name == "id":
			id = value
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost.IsZero() {
		b.lost = time.Now()
	}
}

func (b *browser) id() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (r *reading) dispatch(id, kind, data string, has bool) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = id
	if !has {
		return
	}
	var f struct {
		message
		place
		MessageID string `json:"message_id"`
	}
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		b.wrong = append(b.wrong, fmt.Sprintf("%v: %s", err, data))
		return
	}
	f.message.text = data
	at := place{f.Stream, f.Serial, ""}
	switch kind {
	case "subscribed":
		r.begins(f.Channel, at)
	case "gap":
		r.failed(f.Channel, data)
	case "resumed":
		r.recovered(data)
	case "reconnect", "error", "subscription_count", "cache_miss":
	case "rewind_complete", "snapshot_complete":
		delete(r.waits, f.Channel)
		if at := r.attached[f.Channel]; at.Serial > b.places[f.Channel].Serial {
			b.places[f.Channel] = at
		}
	default:
		if kind != f.Event {
			b.wrong = append(b.wrong, fmt.Sprintf("of type %q came %s", kind, data))
		}
		_, placed := b.places[f.Channel]
		switch {
		case at.Stream == "": // It is not stored.
			b.got[f.Channel] = append(b.got[f.Channel], f.message)
			return
		case !placed && b.since != "":
			b.places[f.Channel] = place{Stream: at.Stream, Serial: at.Serial - 1}
		}
		b.event(f.message, at)
	}
	r.settle()
}

// begins records the position at which a channel begins. A channel that resumes from another position, or
// gets history first, is not live yet.
func (r *reading) begins(channel string, at place) {
	b := r.b
	_, was := b.places[channel]
	gap, refused := r.refused[channel]
	switch {
	case refused:
		gap.through = at.Serial
		b.gaps[channel] = append(b.gaps[channel], gap)
	case was || b.since != "":
		r.attached[channel] = at
		return
	default:
		b.began[channel] = at
	}
	b.places[channel] = at
	delete(r.waits, channel)
}

func (r *reading) failed(channel, data string) {
	b := r.b
	var f struct{ Code, Reason string }
	if err := json.Unmarshal([]byte(data), &f); err != nil || channel == "" {
		b.wrong = append(b.wrong, "a gap without a channel: "+data)
	}
	gap := told{after: b.places[channel].Serial, code: f.Code, reason: f.Reason}
	at, began := r.attached[channel]
	switch {
	case began:
		gap.through = at.Serial
		b.places[channel] = at
	case r.waits[channel]:
		r.refused[channel] = gap
		return
	default:
		gap.live = true
	}
	b.gaps[channel] = append(b.gaps[channel], gap)
	delete(r.attached, channel)
	delete(r.waits, channel)
}

func (r *reading) recovered(data string) {
	b := r.b
	var all struct {
		Recovered []struct {
			Channel, Source string
			Position        place
		}
	}
	if err := json.Unmarshal([]byte(data), &all); err != nil || !r.resumes {
		b.wrong = append(b.wrong, fmt.Sprintf("%v: %s", err, data))
	}
	for _, to := range all.Recovered {
		// In a quiet channel the id may be behind the browser's position.
		switch was := b.places[to.Channel]; {
		case to.Position.Stream != was.Stream:
			b.wrong = append(b.wrong, fmt.Sprintf("%s is at %+v after %+v", to.Channel, to.Position, was))
		case to.Position.Serial > was.Serial:
			b.places[to.Channel] = to.Position
		}
		b.resumed++
		if to.Source == "cold" {
			b.cold++
		}
		delete(r.attached, to.Channel)
		delete(r.waits, to.Channel)
	}
	r.resumes = false
}

// settle marks the reading as live once nothing is pending.
func (r *reading) settle() {
	if len(r.waits) > 0 || r.resumes {
		return
	}
	select {
	case <-r.live:
		return
	default:
	}
	close(r.live)
	if b := r.b; !b.lost.IsZero() {
		b.took(time.Since(b.lost))
		b.lost = time.Time{}
	}
}

// come reads from a gateway until all channels are live.
func (b *browser) come(t *testing.T, address string) (r *reading) {
	t.Helper()
	last := b.id()
	b.comes(t, func() (live, done <-chan struct{}, leave func()) {
		b.mu.Lock()
		b.last = last
		b.mu.Unlock()
		var err error
		if r, err = b.read(t.Context(), address); errors.Is(err, errBusy) {
			return nil, nil, nil
		}
		if err != nil {
			t.Fatal(err, b.wrong)
		}
		return r.live, r.done, r.leave
	})
	return r
}
