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

// signedPublisher publishes over HTTP. It is not safe for concurrent use.
type signedPublisher struct {
	api *client.Signed
	// patient retries events that the server cannot accept now. answered says that it has accepted one before.
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
		out.said = fmt.Sprintf("stored %s on %s (%s)", e.name, strings.Join(fresh, ", "), counted(len(e.data), "byte"))
	}
	if len(before) > 0 {
		if out.said != "" {
			out.said += "\n"
		}
		out.said += fmt.Sprintf("%s was stored before on %s; nothing is stored again", e.name, strings.Join(before, ", "))
	}
	return out, err
}

// send publishes an event; a patient publisher retries.
func (p *signedPublisher) send(ctx context.Context, e client.Publish) (stored map[string]client.Stored, err error) {
	if !p.patient {
		return p.api.PublishStored(ctx, e)
	}
	// The key identifies an event that was stored although no answer arrived.
	e.IdempotencyKey = rand.Text()
	err = insist(ctx, p.answered, p.trouble, func() (err error) {
		stored, err = p.api.PublishStored(ctx, e)
		return err
	})
	p.answered = p.answered || err == nil
	for channel, s := range stored {
		s.Duplicate = false // the key is unique to this event
		stored[channel] = s
	}
	return stored, err
}

// trouble reports an error before a retry, except for the rate limit of the app, which is not a fault.
func (p *signedPublisher) trouble(err error, wait time.Duration) {
	var api *client.APIError
	if errors.As(err, &api) && api.Status == http.StatusTooManyRequests {
		return
	}
	fmt.Fprintf(p.stderr, "%v; next try in %v\n", err, wait.Round(time.Millisecond))
}

func (*signedPublisher) close() {}
