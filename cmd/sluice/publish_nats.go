package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/streams"
)

// rawPublisher goes straight to the log.
type rawPublisher struct {
	app, prefix string
	conn        *nats.Conn
	js          jetstream.JetStream
}

func newRawPublisher(url, creds, prefix, app string) (publisher, error) {
	options := []nats.Option{nats.Name("sluice publish"), nats.MaxReconnects(0),
		// What is not permitted is told with the publish that it stops.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}
	if creds != "" {
		options = append(options, nats.UserCredentials(creds))
	}
	conn, err := nats.Connect(url, options...)
	if err != nil {
		return nil, hinted{fmt.Errorf("connecting to NATS: %w", err), "Is a NATS server there? `sluice serve` in development mode listens on nats://127.0.0.1:4222."}
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &rawPublisher{app: app, prefix: prefix, conn: conn, js: js}, nil
}

func (p *rawPublisher) publish(ctx context.Context, e event) (string, error) {
	var said []string
	for _, channel := range e.channels {
		m := nats.NewMsg(p.prefix + streams.SubjectOf(p.app, channel))
		m.Data = []byte(e.data)
		m.Header.Set("Event", headerText(e.name))
		if e.delta != nil {
			m.Header.Set("Delta", strconv.FormatBool(*e.delta))
		}
		if e.exclude != "" {
			m.Header.Set("Exclude-Socket", e.exclude)
		}
		if e.conflation != nil {
			m.Header.Set("Conflation-Key", headerText(*e.conflation))
		}
		if len(e.tags) > 0 {
			tags, err := json.Marshal(e.tags)
			if err != nil {
				return "", err
			}
			m.Header.Set("Tags", string(tags))
		}
		if e.dedup != "" {
			m.Header.Set(jetstream.MsgIDHeader, e.dedup)
		}
		ack, err := p.js.PublishMsg(ctx, m)
		switch {
		case err != nil && errors.Is(p.conn.LastError(), nats.ErrPermissionViolation):
			return "", hinted{fmt.Errorf("publishing to %s: %w", m.Subject, p.conn.LastError()), "A publisher needs to publish to this subject and to subscribe to _INBOX.>."}
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
			return "", hinted{fmt.Errorf("no stream takes %s: %w", m.Subject, err), "Is the app configured at a running server? Check --app."}
		case err != nil:
			return "", fmt.Errorf("publishing to %s: %w", m.Subject, err)
		case ack.Duplicate:
			said = append(said, fmt.Sprintf("%s was stored before as %d of stream %s", m.Subject, ack.Sequence, ack.Stream))
		default:
			said = append(said, fmt.Sprintf("stored %s on %s (%d bytes) as %d of stream %s", e.name, m.Subject, len(e.data), ack.Sequence, ack.Stream))
		}
	}
	return strings.Join(said, "\n"), nil
}

// headerText makes a text fit for a header. One that a header line cannot hold
// as it is travels as a Go string literal, which the server reads as well.
func headerText(v string) string {
	odd := v == "" || v[0] == '"' || strings.TrimSpace(v) != v
	for i := 0; !odd && i < len(v); i++ {
		odd = v[i] < ' ' || v[i] == 0x7f
	}
	if odd {
		return strconv.Quote(v)
	}
	return v
}

func (p *rawPublisher) close() { p.conn.Close() }
