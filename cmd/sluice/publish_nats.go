package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/certs"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/streams"
)

// fromConfig is the value of --nats that selects the servers and credentials of the configuration.
const fromConfig = "config"

// rawPublisher publishes directly to the log.
type rawPublisher struct {
	app, prefix         string
	maxData, maxChannel int
	conn                *nats.Conn
	js                  jetstream.JetStream
	// stop cancels the publish in flight.
	stop atomic.Pointer[context.CancelFunc]
}

// newRawPublisher connects to the servers of --nats.
func newRawPublisher(o *publishOptions) (publisher, error) {
	p := &rawPublisher{app: o.app, prefix: o.prefix, maxData: 1 << 20, maxChannel: 200}
	if p.prefix == "" {
		p.prefix = o.config.NATS.Prefix
	}
	for i := range o.config.Apps {
		// The limits of gateways are known for apps of the configuration.
		if a := &o.config.Apps[i]; a.ID == o.app {
			p.maxData, p.maxChannel = streamOptions(o.config, nil).MaxData, a.MaxChannelName
		}
	}
	url, options := o.nats, []nats.Option{}
	if o.nats == fromConfig {
		var err error
		if url, options, err = natsOf(o.config); err != nil {
			return nil, err
		}
	}
	options = append(options, nats.Name("sluice publish"), nats.MaxReconnects(0),
		// A permission error cancels the publish, which would not be answered.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if stop := p.stop.Load(); stop != nil && errors.Is(err, nats.ErrPermissionViolation) {
				(*stop)()
			}
		}))
	if o.creds != "" {
		options = append(options, nats.UserCredentials(o.creds))
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
	p.conn, p.js = conn, js
	return p, nil
}

// natsOf returns how a configuration connects to NATS.
func natsOf(c *configs.Config) (url string, options []nats.Option, err error) {
	n := &c.NATS
	switch {
	case c.Driver != "nats":
		return "", nil, usage("--nats %s: adapter.driver is %q in the configuration", fromConfig, c.Driver)
	case c.Embeds() && n.Embedded.Port <= 0:
		return "", nil, usage("--nats %s: the embedded server takes any port; give its address", fromConfig)
	case c.Embeds():
		return "nats://" + net.JoinHostPort(strings.Trim(n.Embedded.Host, "[]"), strconv.Itoa(n.Embedded.Port)), nil, nil
	}
	add := func(o nats.Option) { options = append(options, o) }
	switch {
	case n.CredentialsFile != "":
		add(nats.UserCredentials(n.CredentialsFile))
	case n.NKeyFile != "":
		key, err := nats.NkeyOptionFromSeed(n.NKeyFile)
		if err != nil {
			return "", nil, fmt.Errorf("nats.nkey_file: %w", err)
		}
		add(key)
	case n.User != "":
		add(nats.UserInfo(n.User, n.Password.Reveal()))
	case n.Token != "":
		add(nats.Token(n.Token.Reveal()))
	}
	if n.CAFile != "" {
		roots, err := certs.Roots("nats.tls.ca_file", n.CAFile)
		if err != nil {
			return "", nil, err
		}
		add(nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	}
	if n.CertFile != "" {
		add(nats.ClientCert(n.CertFile, n.KeyFile))
	}
	if n.HandshakeFirst {
		add(nats.TLSHandshakeFirst())
	}
	add(nats.CustomInboxPrefix(n.InboxPrefix))
	return strings.Join(n.URLs, ","), options, nil
}

// message returns the message of an event for one channel. It refuses events that gateways could not deliver:
// the log would store them, and nobody would receive them.
func (p *rawPublisher) message(channel string, e event) (*nats.Msg, error) {
	if err := pusher.CheckChannel(channel, p.maxChannel); err != nil {
		return nil, err
	}
	m := nats.NewMsg(p.prefix + streams.SubjectOf(p.app, channel))
	m.Data = []byte(e.data)
	m.Header.Set("Event", headerText(e.name))
	if e.delta != nil {
		m.Header.Set("Delta", strconv.FormatBool(*e.delta))
	}
	if e.exclude != "" {
		m.Header.Set("Exclude-Socket", headerText(e.exclude))
	}
	if e.conflation != nil {
		m.Header.Set("Conflation-Key", headerText(*e.conflation))
	}
	if len(e.tags) > 0 {
		tags, err := json.Marshal(e.tags)
		if err != nil {
			return nil, err
		}
		m.Header.Set("Tags", string(tags))
	}
	if e.dedup != "" {
		if headerText(e.dedup) != e.dedup {
			return nil, errors.New("--idempotency-key has a control character or a space at an end, which a header cannot hold")
		}
		m.Header.Set(jetstream.MsgIDHeader, e.dedup)
	}
	if err := streams.CheckMessage(m, p.maxData); err != nil {
		return nil, fmt.Errorf("nothing is stored, because gateways could not deliver it: %w", err)
	}
	return m, nil
}

func (p *rawPublisher) publish(ctx context.Context, e event) (report, error) {
	out := report{Event: e.name, Bytes: len(e.data)}
	var messages []*nats.Msg
	for _, channel := range e.channels {
		m, err := p.message(channel, e)
		if err != nil {
			return report{}, err
		}
		messages = append(messages, m)
	}
	var said []string
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p.stop.Store(&stop)
	for i, m := range messages {
		ack, err := p.js.PublishMsg(ctx, m)
		switch {
		case err != nil && errors.Is(p.conn.LastError(), nats.ErrPermissionViolation):
			return report{}, hinted{fmt.Errorf("publishing to %s: %w", m.Subject, p.conn.LastError()), "A publisher needs to publish to this subject and to subscribe to _INBOX.>."}
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
			return report{}, hinted{fmt.Errorf("no stream takes %s: %w", m.Subject, err), "Is the app configured at a running server? Check --app."}
		case err != nil:
			return report{}, fmt.Errorf("publishing to %s: %w", m.Subject, err)
		case ack.Duplicate:
			said = append(said, fmt.Sprintf("%s was stored before as %d of stream %s", m.Subject, ack.Sequence, ack.Stream))
		default:
			said = append(said, fmt.Sprintf("stored %s on %s (%s) as %d of stream %s", e.name, m.Subject, counted(len(e.data), "byte"), ack.Sequence, ack.Stream))
		}
		out.Channels = append(out.Channels, storedEvent{
			Channel: e.channels[i], Serial: ack.Sequence, Subject: m.Subject, Stream: ack.Stream, Duplicate: ack.Duplicate,
		})
	}
	out.said = strings.Join(said, "\n")
	return out, nil
}

// headerText makes a text valid for a header. A text that a header line cannot contain is sent as a Go string
// literal, which the server understands.
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
