package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/client"
)

// copier publishes events of the history again, in order. Each event gets a message id that identifies its
// original, and is also its idempotency key: the server stores a repetition within two minutes once. Events that
// were stored earlier are recognised by what is in the channel. It is not safe for concurrent use.
type copier struct {
	api            *client.Signed
	source, target string
	// known are the shortened ids that the target already has.
	known map[shortID]struct{}
	// first is the original serial of the first replayed event that the target still has, by origin.
	first map[origin]uint64
	// batch is the number of events in a request; waiting are the events to send, with their size in bytes.
	batch   int
	waiting []client.Publish
	bytes   int
	// serials are the serials of waiting. taken is the last event that was examined, and sent the last one that
	// was dealt with.
	serials []uint64
	taken   uint64
	sent    uint64

	// what names the unit of serials in errors. there and undeliverable count skipped events.
	what                 string
	there, undeliverable int
	// early counts events from before the first one that the target still has.
	early   int
	repeats *repeats
	// answered is set once the server has answered, see [past].
	answered bool
	trouble  func(error, time.Duration)
}

// origin is a stream of events of a channel.
type origin struct{ channel, stream string }

// shortID is the beginning of a digest of an id.
type shortID [12]byte

const (
	copyBatch = 10
	// copyBytes is about how much data and extras a request has: well below the limit of a server
	// (http.max_body), even with escapes.
	copyBytes = 128 << 10
)

func newCopier(api *client.Signed, source, target string) *copier {
	c := &copier{api: api, source: source, target: target, what: "the event with serial", batch: copyBatch, known: map[shortID]struct{}{}, first: map[origin]uint64{}}
	c.repeats = newRepeats(api, func(err error, wait time.Duration) {
		if c.trouble != nil {
			c.trouble(err, wait)
		}
	})
	return c
}

func short(id string) shortID {
	sum := sha256.Sum256([]byte(id))
	return shortID(sum[:12])
}

func hexOf(id shortID) string { return hex.EncodeToString(id[:]) }

// replayPrefix begins the message ids of replayed events.
const replayPrefix = "replay-"

// idOf returns the message id of an event for another channel. It depends only on the origin and the target of
// the event.
func (c *copier) idOf(i *client.HistoryItem) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s", c.source, i.StreamID, i.Serial, c.target))
	return replayPrefix + hex.EncodeToString(sum[:16])
}

// look reads which replayed events the target has. An event that was stored before the first event of the source
// cannot be its replay.
func (c *copier) look(ctx context.Context, since time.Time, stderr io.Writer) error {
	cut, err := c.learn(ctx, c.source, c.target, stretch{from: moment{time: since}}, func(i *client.HistoryItem) {
		if strings.HasPrefix(i.MessageID, replayPrefix) {
			c.known[short(i.MessageID)] = struct{}{}
		}
	}, stderr)
	if cut == "channel_history" {
		fmt.Fprintf(stderr, "channel_history lets only a part of %s be read; what is there before that is not known and is stored again\n", c.target)
	}
	return err
}

// learn reads a target, oldest first, and notes the origins of its events. cut is why the beginning cannot be
// read ([client.HistoryContinuity]). If the history must not be read, it prints a note and returns no error.
func (c *copier) learn(ctx context.Context, source, target string, s stretch, each func(*client.HistoryItem), stderr io.Writer) (cut string, err error) {
	p := &past{api: c.api, channel: target, stretch: s, patience: replayPatience, lost: func(loss) {}, trouble: c.trouble, answered: c.answered}
	err = p.read(ctx, func(i *client.HistoryItem) error {
		each(i)
		c.note(source, target, i)
		return nil
	})
	if err == nil && p.begun == nil {
		q := s.query()
		q.OldestFirst, q.Limit = true, 1
		err = insist(ctx, p.answered, c.trouble, func() error {
			page, err := c.api.History(ctx, target, q)
			if err == nil {
				p.begun = &page.Continuity
			}
			return err
		})
	}
	c.answered = c.answered || p.answered || err == nil
	var api *client.APIError
	switch {
	case errors.As(err, &api) && api.Status == http.StatusUnprocessableEntity:
		fmt.Fprintf(stderr, "what %s has cannot be read (%s); what is repeated after two minutes is stored again\n", target, api.Message)
		return "", nil
	case err != nil:
		return "", err
	}
	return p.begun.TruncatedBy, nil
}

// note records the origin of an event of a target: the target itself, or the origin in its mark.
func (c *copier) note(source, target string, i *client.HistoryItem) {
	if source == target {
		c.begins(origin{source, i.StreamID}, i.Serial)
	}
	if m := gjson.Get(string(i.Message), "extras.replay"); m.IsObject() && m.Get("channel").Str == source {
		c.begins(origin{source, m.Get("stream_id").Str}, m.Get("serial").Uint())
	}
}

func (c *copier) begins(with origin, serial uint64) {
	if _, there := c.first[with]; !there {
		c.first[with] = serial
	}
}

// before reports whether an event precedes the first one that the target still has, so the target may have had
// it.
func (c *copier) before(from origin, serial uint64) bool {
	first, there := c.first[from]
	return there && serial < first
}

// mark names the original of an event (docs/protocol.md).
type mark struct {
	Channel   string `json:"channel"`
	StreamID  string `json:"stream_id"`
	Serial    uint64 `json:"serial"`
	Published int64  `json:"published_at_ms"`
	UserID    string `json:"user_id,omitempty"`
}

func (c *copier) take(ctx context.Context, i *client.HistoryItem) error {
	id := c.idOf(i)
	_, there := c.known[short(id)]
	switch {
	case i.Skipped != "":
		c.undeliverable++
	case there:
		c.there++
	default:
		if c.before(origin{c.source, i.StreamID}, i.Serial) {
			c.early++
		}
		r := recordOf(c.source, i)
		p, err := r.publish(c.target, id)
		if err != nil {
			return fmt.Errorf("serial %d: %w", i.Serial, err)
		}
		if err := c.add(ctx, p, i.Serial); err != nil {
			return err
		}
	}
	c.taken = i.Serial
	return nil
}

// add queues an event, and sends the queue when it is full.
func (c *copier) add(ctx context.Context, p client.Publish, serial uint64) error {
	size := len(p.Data) + len(p.Extras)
	if len(c.waiting) > 0 && c.bytes+size > copyBytes {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	c.waiting, c.serials = append(c.waiting, p), append(c.serials, serial)
	c.bytes += size
	if len(c.waiting) >= c.batch {
		return c.flush(ctx)
	}
	return nil
}

func (c *copier) flush(ctx context.Context) error {
	for len(c.waiting) > 0 {
		n := c.repeats.together(c.waiting[:min(len(c.waiting), c.batch)])
		err := c.repeats.publish(ctx, c.waiting[:n])
		var api *client.APIError
		switch {
		case err == nil:
			c.sent = c.serials[n-1]
			c.waiting, c.serials = c.waiting[n:], c.serials[n:]
		case errors.As(err, &api) && n > 1 && (api.Code == "limit_exceeded" || api.Code == "payload_too_large"):
			c.batch = n / 2 // the server accepts fewer, or one of them is not acceptable
		case errors.As(err, &api) && !passing(err) && n == 1:
			return fmt.Errorf("%s %d is refused: %w", c.what, c.serials[0], err)
		case errors.As(err, &api) && !passing(err):
			c.batch = 1 // to find out which one it is
		default:
			return err
		}
	}
	c.waiting, c.serials, c.bytes = c.waiting[:0], c.serials[:0], 0
	c.sent = max(c.sent, c.taken)
	return nil
}

func (c *copier) through() uint64 { return c.sent }
func (c *copier) torn() bool      { return false } // an event is stored or not

func (c *copier) remarks() string {
	out := c.counts()
	if c.early > 0 {
		out += fmt.Sprintf(", %d of them from before the first one that %s still has: what it had of those and lost is stored again", c.early, shorten(c.target, 200))
	}
	return out
}

// counts describes skipped events for summaries.
func (c *copier) counts() string {
	out := ""
	if c.there > 0 {
		out += fmt.Sprintf(", %d of them were there already", c.there)
	}
	if c.undeliverable > 0 {
		out += fmt.Sprintf(", %d cannot be delivered and were left out", c.undeliverable)
	}
	return out
}
