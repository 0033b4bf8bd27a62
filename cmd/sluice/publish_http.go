package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// signedPublisher goes over HTTP. One goroutine uses it.
type signedPublisher struct {
	api *client.Signed
	// patient: what the server does not take now is tried again, and answered says that it has taken something.
	patient, answered bool
	stderr            io.Writer
}

func (p *signedPublisher) publish(ctx context.Context, e event) (report, error) {
	stored, err := p.send(ctx, client.Publish{
		Name: e.name, Channels: e.channels, Data: e.data, Tags: e.tags, Delta: e.delta,
		MessageID: e.id, IdempotencyKey: e.dedup, SocketID: e.exclude, ConflationKey: e.conflation,
	})
	out := report{Event: e.name, Bytes: len(e.data)}
	var fresh, before []string
	for _, channel := range e.channels {
		s := stored[channel]
		out.Channels = append(out.Channels, storedEvent{Channel: channel, Serial: s.Serial, StreamID: s.StreamID, Duplicate: s.Duplicate})
		if s.Duplicate {
			before = append(before, channel)
		} else {
			fresh = append(fresh, channel)
		}
	}
	if len(fresh) > 0 {
		out.said = fmt.Sprintf("stored %s on %s (%d bytes)", e.name, strings.Join(fresh, ", "), len(e.data))
	}
	if len(before) > 0 {
		if out.said != "" {
			out.said += "\n"
		}
		out.said += fmt.Sprintf("%s was stored before on %s; nothing is stored again", e.name, strings.Join(before, ", "))
	}
	return out, err
}

// send publishes an event, and where it is one of many, until the server takes it.
func (p *signedPublisher) send(ctx context.Context, e client.Publish) (stored map[string]client.Stored, err error) {
	if !p.patient {
		return p.api.PublishStored(ctx, e)
	}
	// What was stored without an answer is known again by its key.
	e.IdempotencyKey = rand.Text()
	err = insist(ctx, p.answered, p.trouble, func() (err error) {
		stored, err = p.api.PublishStored(ctx, e)
		return err
	})
	p.answered = p.answered || err == nil
	for channel, s := range stored {
		s.Duplicate = false // Nobody else has the key.
		stored[channel] = s
	}
	return stored, err
}

// trouble says what is waited for, but not that the app has a limit of events in a second, which is not wrong.
func (p *signedPublisher) trouble(err error, wait time.Duration) {
	var api *client.APIError
	if errors.As(err, &api) && api.Status == http.StatusTooManyRequests {
		return
	}
	fmt.Fprintf(p.stderr, "%v; next try in %v\n", err, wait.Round(time.Millisecond))
}

func (*signedPublisher) close() {}
