package streams

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/broker/rank"
)

// castRoot is the prefix of subjects for ephemeral events, which no stream stores. Each subject has a part number between
// app and channel. A gateway subscribes to the parts in which it follows channels, instead of subscribing to each channel
// a second time. Events of other channels in these parts cost it one lookup each.
const castRoot = "ep."

// castParts is the number of parts of an app.
const castParts = 64

// castPart returns the subject of the part that a channel belongs to, up to the token of the channel.
func castPart(prefix, app, channel string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(channel))
	return castApp(prefix, app) + strconv.FormatUint(uint64(h.Sum32()%castParts), 10) + "."
}

func castApp(prefix, app string) string { return prefix + castRoot + name.Subject(app) + "." }

// castKey returns the live subject of the channel of an ephemeral event.
func castKey(prefix, subject string) string {
	app, rest, _ := strings.Cut(strings.TrimPrefix(subject, prefix+castRoot), ".")
	_, channel, _ := strings.Cut(rest, ".")
	return prefix + liveRoot + app + "." + channel
}

// castPatience bounds the publishing of ephemeral events. There is no retry, because the publisher knows better whether the
// event is still worth sending.
const castPatience = 2 * time.Second

// Cast implements [broker.Caster]. The events are published with a proof and stored in no stream. Gateways ignore events
// without a valid proof.
func (l *Log) Cast(ctx context.Context, app string, events ...broker.Outgoing) error {
	a, err := l.app(app)
	if err != nil {
		return err
	}
	if app == broker.GatewaysApp {
		return fmt.Errorf("%w: orders are stored", broker.ErrUnknownApp)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.ctx.Err() != nil {
		return broker.ErrClosed
	}
	messages := make([]*nats.Msg, len(events))
	for i, e := range events {
		subject := castPart(l.opt.Prefix, app, e.Channel) + name.Subject(e.Channel)
		if messages[i], _, err = l.message(a, subject, e, ""); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(castPatience, l.opt.PublishTimeout))
	defer cancel()
	conn := l.pub.conn()
	for _, m := range messages {
		denied, end := l.asking.expect(ctx, m.Subject)
		defer end()
		ctx = denied
		if err := conn.PublishMsg(m); err != nil {
			return unavailable("casting", err)
		}
	}
	return l.accepted(ctx, conn)
}

// accepted waits until the server has accepted or refused what was published.
func (l *Log) accepted(ctx context.Context, conn *nats.Conn) error {
	err := conn.FlushWithContext(ctx)
	// Another goroutine reports a refusal. LastError keeps an error until the next reconnect, so it may be an old one.
	if err == nil && errors.Is(conn.LastError(), nats.ErrPermissionViolation) && strings.Contains(conn.LastError().Error(), `"`+l.opt.Prefix+castRoot) {
		select {
		case <-ctx.Done():
		case <-time.After(crowdedPatience):
		}
	}
	var denied *broker.Refused
	switch {
	case errors.As(context.Cause(ctx), &denied):
		return denied
	case err != nil && context.Cause(ctx) == context.Canceled:
		return ctx.Err()
	case err != nil:
		return unavailable("casting", err)
	}
	return nil
}

// casts holds the subscriptions for ephemeral events.
type casts struct {
	log *Log
	in  chan *nats.Msg

	mu    rank.Mutex[rank.StreamsCasts]
	parts map[string]*castAudience
}

// castAudience is a part in which channels are followed.
type castAudience struct {
	users int
	sub   *standing
}

// join subscribes to a part, unless this is done already. Errors: those of [link.stand].
func (c *casts) join(part string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[part]
	if p == nil {
		sub, err := c.log.feed.stand(part+"*", c.in, nil)
		if err != nil {
			return err
		}
		p = &castAudience{sub: sub}
		c.parts[part] = p
	}
	p.users++
	return nil
}

// leave unsubscribes when the last channel of a part leaves.
func (c *casts) leave(part string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[part]
	if p.users--; p.users == 0 {
		delete(c.parts, part)
		p.sub.end()
	}
}

// arrived puts ephemeral events that have arrived into the queues of their channels. It does not block.
func (c *casts) arrived() {
	l := c.log
	for {
		select {
		case m := <-c.in:
			f := l.follow.Lookup(castKey(l.opt.Prefix, m.Subject))
			if f == nil {
				continue
			}
			if !l.queues[f.Shard()].Put(live{f.Line().(*follower), m, true}, m.Size()) {
				l.stats.Unheard.Add(1)
			}
			l.shards[f.Shard()].relay.poke()
		default:
			return
		}
	}
}

// hear delivers an ephemeral event to the sinks, if its proof is valid: only gateways may send such events.
func (f *follower) hear(m *nats.Msg) {
	l := f.log
	if !l.credentialsOf(f.app, f.Channel).believes(m.Subject, m.Header, m.Data) {
		l.stats.Rejected.Add(1)
		return
	}
	ev, skipped := decode(m.Header, m.Data, l.maxData())
	if skipped != "" || ev.MessageID == "" {
		l.stats.Skipped.Add(1)
		return
	}
	f.Hear(&broker.Publication{Event: ev, Time: l.Now().Round(0).UTC()})
}

// castRefused reports whether a violation is about the subjects of ephemeral events. Everything else works without that
// permission.
func (l *Log) castRefused(violation string) bool {
	return strings.Contains(violation, `"`+l.opt.Prefix+castRoot)
}
