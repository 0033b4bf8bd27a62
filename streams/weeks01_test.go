package streams

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// operator administers the NATS server beside a log.
type operator struct {
	t  *testing.T
	js jetstream.JetStream
}

func newOperator(t *testing.T, l *Log) operator {
	t.Helper()
	// An earlier edit would be noticed only when its stream is checked.
	awaitTrue(t, "edits are heard of", func() bool {
		l.feed.mu.Lock()
		defer l.feed.mu.Unlock()
		for s := range l.feed.standing {
			if s.subject == streamUpdated+">" {
				return true
			}
		}
		return false
	})
	if err := l.feed.conn().FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
	return operator{t, l.admin.now()}
}

func (o operator) config(stream string) jetstream.StreamConfig {
	o.t.Helper()
	s, err := o.js.Stream(o.t.Context(), stream)
	if err != nil {
		o.t.Fatal(err)
	}
	return s.CachedInfo().Config
}

func (o operator) edit(stream string, change func(*jetstream.StreamConfig)) {
	o.t.Helper()
	c := o.config(stream)
	change(&c)
	_, err := o.js.UpdateStream(o.t.Context(), c)
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && strings.Contains(api.Description, "unknown field"):
		o.t.Skip("this server has no such setting: ", err)
	case errors.Is(err, jetstream.ErrStreamSourceNotSupported), errors.Is(err, jetstream.ErrStreamSubjectTransformNotSupported):
		// The edit was put back before the answer was made.
	case err != nil:
		o.t.Fatal(err)
	}
}

// edits lists what an operator may do to the stream of an app, with the text in readiness if it is not put
// back.
var edits = []struct {
	name   string
	change func(*jetstream.StreamConfig)
	// stays is the text in readiness about a setting that is left as it is. It is empty for a setting that is
	// the operator's own, which is always left.
	stays string
	own   bool
	// late edits come when nothing vouches for an event any more: events stored before are lost, and reported
	// as lost.
	late bool
}{
	{name: "no acknowledgements", change: func(c *jetstream.StreamConfig) { c.NoAck = true }},
	{name: "a transform into another channel", change: func(c *jetstream.StreamConfig) {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "ch.app-1.*", Destination: "ch.app-1.{{wildcard(1)}}-other"}
	}},
	{name: "a transform into nothing of ours", change: func(c *jetstream.StreamConfig) {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "away.>"}
	}},
	{name: "interest retention", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, late: true},
	{name: "roll-ups", change: func(c *jetstream.StreamConfig) { c.AllowRollup = true }},
	{name: "other subjects", change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere.>"}; c.RePublish = nil }},
	{name: "fewer subjects", change: func(c *jetstream.StreamConfig) {
		c.Subjects = []string{"ch.app-1.other"}
		c.RePublish = nil
	}},
	{name: "no republishing", change: func(c *jetstream.StreamConfig) { c.RePublish = nil }},
	{name: "republishing headers", change: func(c *jetstream.StreamConfig) {
		c.RePublish = &jetstream.RePublish{Source: "ch.app-1.>", Destination: "rt.app-1.>", HeadersOnly: true}
	}},
	{name: "republishing elsewhere", change: func(c *jetstream.StreamConfig) {
		c.RePublish = &jetstream.RePublish{Source: "ch.app-1.>", Destination: "rx.app-1.>"}
	}},
	{name: "a short window of ids", change: func(c *jetstream.StreamConfig) { c.Duplicates = 100 * time.Millisecond }},
	{name: "small messages", change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 16 }},
	{name: "one message in all", change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }},
	{name: "new ones discarded", change: func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardNew, 1 }},
	{name: "new ones of a channel discarded", change: func(c *jetstream.StreamConfig) {
		c.Discard, c.DiscardNewPerSubject, c.MaxMsgsPerSubject = jetstream.DiscardNew, true, 1
	}, stays: "max_msgs_per_subject is 1, must be 100"},
	{name: "no direct reads", change: func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
	{name: "a source", change: func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "WORK2"}} }},
	{name: "atomic batches", change: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = true }},
	{name: "fast batches", change: func(c *jetstream.StreamConfig) { c.AllowBatchPublish = true }},
	{name: "no metadata", change: func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"team": "x"} }},
	{name: "several at a time", change: func(c *jetstream.StreamConfig) {
		c.NoAck, c.AllowRollup, c.Duplicates, c.Metadata, c.RePublish = true, true, time.Second, nil, nil
	}},

	{name: "fewer messages", change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }, stays: "max_msgs_per_subject is 5, must be 100"},
	{name: "a shorter age", change: func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Minute, time.Minute }, stays: "max_age is 1m0s, must be 24h0m0s"},
	{name: "fewer bytes", change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, stays: "max_bytes is 1048576, must be 1073741824"},
	{name: "message TTLs", change: func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, stays: "allow_msg_ttl is true, must be false: NATS does not take that back"},
	{name: "delete markers", change: func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = time.Second }, stays: "allow_msg_ttl is true"},
	{name: "schedules", change: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules, c.AllowRollup = true, true }, stays: "allow_msg_schedules is true"},

	{name: "a description", change: func(c *jetstream.StreamConfig) { c.Description = "mine" }, own: true},
	{name: "compression", change: func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }, own: true},
	{name: "no purges", change: func(c *jetstream.StreamConfig) { c.DenyPurge = true }, own: true},
	{name: "a longer window", change: func(c *jetstream.StreamConfig) { c.Duplicates = time.Hour }, own: true},
	{name: "any size of messages", change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = -1 }, own: true},
	{name: "limits of consumers", change: func(c *jetstream.StreamConfig) { c.MaxConsumers = 7 }, own: true},
}

// TestWeeks01AnOperatorEditsAStream: whatever an operator sets, an acknowledged event is in the log and is
// delivered in its channel; the epoch goes on; and the setting is put back, or readiness names it.
func TestWeeks01AnOperatorEditsAStream(t *testing.T) {
	t.Parallel()
	for _, c := range edits {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := node(t, t.TempDir())
			l := open(t, options(s))
			op, stream, sk := newOperator(t, l), StreamOf("app-1"), &sink{}
			if _, err := l.Attach(t.Context(), "app-1", "c", sk); err != nil {
				t.Fatal(err)
			}
			publish := func(data string) {
				t.Helper()
				event := &broker.Event{Name: "e", Data: []byte(data)}
				if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: event}); err != nil {
					t.Errorf("publishing %s: %v", data, err)
				}
			}
			publish("before")
			epoch, before := l.apps.Of("app-1").currentEpoch(), op.config(stream)
			if c.late {
				sure := &l.apps.Of("app-1").sure
				awaitTrue(t, "nothing vouches for events", func() bool {
					sure.mu.Lock()
					defer sure.mu.Unlock()
					return time.Now().After(sure.until)
				})
			}
			op.edit(stream, c.change)
			edited := op.config(stream)
			publish("at once")
			publish("and again")
			seen := func() string {
				var got []string
				all, gaps := sk.all()
				for _, p := range all {
					got = append(got, string(p.Data))
				}
				slices.Sort(got)
				return fmt.Sprintf("%s, %d gaps", strings.Join(got, ", "), gaps)
			}
			awaitTrue(t, "everything is delivered", func() bool { return strings.HasPrefix(seen(), "and again, at once, before") })
			if got := seen(); got != "and again, at once, before, 0 gaps" {
				t.Errorf("delivered were %s: %+v", got, sk.gaps)
			}
			l.checkStream(l.apps.Of("app-1"))
			if got := problemsOf(l); !strings.Contains(got, c.stays) || c.stays == "" && got != "" {
				t.Errorf("the problems are %q, want %q", got, c.stays)
			}
			if !l.Health().Ready {
				t.Errorf("the log is not ready: %s", problemsOf(l))
			}
			after := op.config(stream)
			if c.own {
				before = edited
			}
			if c.stays == "" && fmt.Sprintf("%+v", comparable01(after)) != fmt.Sprintf("%+v", comparable01(before)) {
				t.Errorf("after it the settings are\n%+v, want\n%+v", comparable01(after), comparable01(before))
			}
			if got := l.apps.Of("app-1").currentEpoch(); got != epoch {
				t.Errorf("the epoch is %s, was %s", got, epoch)
			}
			// A restart finds no fault that was not reported, and keeps the epoch.
			_ = l.Close()
			if got := open(t, options(s)).apps.Of("app-1").currentEpoch(); got != epoch {
				t.Errorf("after a start the epoch is %s, was %s", got, epoch)
			}
		})
	}
}

// comparable01 returns a configuration without the server's own bookkeeping.
func comparable01(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Metadata = map[string]string{epochKey: c.Metadata[epochKey]}
	if c.RePublish != nil {
		c.Subjects = append(c.Subjects, fmt.Sprintf("%+v", *c.RePublish))
		c.RePublish = nil
	}
	return c
}

// TestWeeks01ARemovedMark: metadata that was removed while no gateway ran is restored unchanged.
func TestWeeks01ARemovedMark(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	epoch := l.apps.Of("app-1").currentEpoch()
	_ = l.Close()
	nc, err := nats.Connect(s.ClientURL(), append(s.ConnectOptions(), nats.Timeout(time.Minute))...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	operator{t, js}.edit(StreamOf("app-1"), func(c *jetstream.StreamConfig) { c.Metadata = nil })
	if got := open(t, options(s)).apps.Of("app-1").currentEpoch(); got != epoch {
		t.Errorf("the epoch is %s, was %s", got, epoch)
	}
}

// TestWeeks01WhatWasPutBackIsConfirmed: the server may apply the edit to its store after the settings that
// were put back, and then acknowledges by the edit although the stream itself reports the settings. So they
// are sent again.
func TestWeeks01WhatWasPutBackIsConfirmed(t *testing.T) {
	t.Parallel()
	s := node(t, t.TempDir())
	l := open(t, options(s))
	op, stream := newOperator(t, l), StreamOf("app-1")
	updates := make(chan *nats.Msg, 64)
	sub, err := l.feed.conn().ChanSubscribe(streamUpdated+stream, updates)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	before := op.config(stream)
	op.edit(stream, func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs, c.Description = jetstream.DiscardNew, 1, "mine" })
	// The edit, the settings that were put back, and these again for each confirmation.
	awaitTrue(t, "it is put in force again", func() bool { return len(updates) >= 2+len(confirmAfter) })
	before.Description = "mine"
	if after := op.config(stream); fmt.Sprintf("%+v", comparable01(after)) != fmt.Sprintf("%+v", comparable01(before)) {
		t.Errorf("after it the settings are\n%+v, want\n%+v", comparable01(after), comparable01(before))
	}
	if n := l.upkeep.mended.Load(); n != 1 {
		t.Errorf("settings were put back %d times, want once", n)
	}
}
