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

// castRoot is where gateways give each other what no stream keeps. It has a part of the
// channels between app and channel, so that a gateway subscribes to the parts that it follows
// channels of and not to each channel twice: of what comes beside these it pays for a look.
const castRoot = "ep."

// castParts is the number of parts of an app.
const castParts = 64

// castPart is the subject of a part of the channels of an app, up to the channel's token.
func castPart(prefix, app, channel string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(channel))
	return castApp(prefix, app) + strconv.FormatUint(uint64(h.Sum32()%castParts), 10) + "."
}

func castApp(prefix, app string) string { return prefix + castRoot + name.Subject(app) + "." }

// castKey is the live subject of the channel that a subject of castRoot is for.
func castKey(prefix, subject string) string {
	app, rest, _ := strings.Cut(strings.TrimPrefix(subject, prefix+castRoot), ".")
	_, channel, _ := strings.Cut(rest, ".")
	return prefix + liveRoot + app + "." + channel
}

// castPatience is how long NATS may take to accept what is cast. It is not tried again: who
// publishes it knows better whether it is still worth it.
const castPatience = 2 * time.Second

// Cast implements [broker.Caster]. The events go past all streams, with a proof: who may not
// write there, and whoever has no secret of the app, is not heard.
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

// accepted waits until the server has taken what was published, or said that it does not.
func (l *Log) accepted(ctx context.Context, conn *nats.Conn) error {
	err := conn.FlushWithContext(ctx)
	// What the server refused is told by another goroutine. The error stands until the
	// connection is made anew, so it may be of before.
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

// casts is who hears what is cast.
type casts struct {
	log *Log
	in  chan *nats.Msg

	mu    rank.Mutex[rank.StreamsCasts]
	parts map[string]*castAudience
}

// castAudience is a part of the channels of an app that some are followed of.
type castAudience struct {
	users int
	sub   *standing
}

// join subscribes to the part of a channel, unless that is done. Errors: those of
// [link.stand].
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

// leave ends it with the last channel.
func (c *casts) leave(part string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[part]
	if p.users--; p.users == 0 {
		delete(c.parts, part)
		p.sub.end()
	}
}

// arrived puts what is cast into the queues of its channels. It waits for nobody.
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

// hear gives the sinks an event that no stream has. It must be proven: nobody but a gateway has
// a reason to cast.
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

// castRefused says whether NATS did not permit to hear or to say what is cast. Everything else
// goes on without.
func (l *Log) castRefused(violation string) bool {
	return strings.Contains(violation, `"`+l.opt.Prefix+castRoot)
}
