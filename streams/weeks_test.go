package streams

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams/embedded"
)

// beside returns an operator of a server without a log.
func beside(t *testing.T, s *embedded.Server) operator {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), append(s.ConnectOptions(), nats.Timeout(time.Minute))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return operator{t, js}
}

// TestWeeks01AnOperatorEditsWhatGatewaysShare: edits of the streams beside those of apps are put back, too.
func TestWeeks01AnOperatorEditsWhatGatewaysShare(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	table, err := l.OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenCounters(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenWork(t.Context(), "one", table); err != nil {
		t.Fatal(err)
	}
	op := newOperator(t, l)
	harmful := map[string]func(*jetstream.StreamConfig){
		"no_ack": func(c *jetstream.StreamConfig) { c.NoAck = true },
		"transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}
		},
		"max_msgs": func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 },
		"metadata": func(c *jetstream.StreamConfig) { c.Metadata = nil },
		"subjects": func(c *jetstream.StreamConfig) { c.Subjects, c.RePublish = append(c.Subjects, "more"), nil },
	}
	for _, stream := range []string{"GATEWAYS", "WORK", "KV_cluster", "KV_counters", "KV_sluice_epochs"} {
		before := comparable01(op.config(stream))
		for what, change := range harmful {
			if what == "metadata" && stream != "GATEWAYS" {
				continue // a stream without our mark is not put back if its subjects differ
			}
			op.edit(stream, change)
			awaitTrue(t, what+" of "+stream+" is put back", func() bool {
				now := comparable01(op.config(stream))
				return now.NoAck == before.NoAck && now.MaxMsgs == before.MaxMsgs && now.SubjectTransform == nil &&
					strings.Join(now.Subjects, " ") == strings.Join(before.Subjects, " ") && now.Metadata[epochKey] == before.Metadata[epochKey]
			})
		}
	}
	awaitTrue(t, "nothing is wrong", func() bool { return len(l.Health().Problems) == 0 })
}

// TestWeeks01ASecondGatewayTakesSmallerEvents: a gateway with a smaller event limit does not reduce the limit
// of the first gateway's stream, in whatever order they start.
func TestWeeks01ASecondGatewayTakesSmallerEvents(t *testing.T) {
	s := node(t, t.TempDir())
	large := options(s)
	large.MaxData = 512 << 10
	small := options(s)
	small.MaxData = 1 << 10
	open(t, small)
	l := open(t, large)
	last := open(t, small)
	event := &broker.Event{Name: "e", Data: []byte(strings.Repeat("x", 500<<10))}
	if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: event}); err != nil {
		t.Error(err)
	}
	for _, g := range []*Log{l, last} {
		if n := g.Upkeep().Mended; n != 0 {
			t.Errorf("a gateway had to put something back %d times", n)
		}
	}
}

// TestWeeks01WhatRollUpsRemoved: no position before a roll-up is taken for complete.
func TestWeeks01WhatRollUpsRemoved(t *testing.T) {
	for _, kind := range []string{"all", "sub"} {
		t.Run(kind, func(t *testing.T) {
			s := node(t, t.TempDir())
			l := open(t, options(s))
			op, stream := newOperator(t, l), StreamOf("app-1")
			publish := func() broker.Position {
				t.Helper()
				got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("x")}})
				if err != nil {
					t.Fatal(err)
				}
				return got[0].Position
			}
			first := publish()
			publish()
			// The server refuses the header once the setting was put back, so the edit and the publish are
			// repeated.
			awaitTrue(t, "a roll-up gets through", func() bool {
				op.edit(stream, func(c *jetstream.StreamConfig) { c.AllowRollup = true })
				m := nats.NewMsg(SubjectOf("app-1", "c"))
				m.Header.Set("Nats-Rollup", kind)
				_, err := op.js.PublishMsg(t.Context(), m)
				return err == nil
			})
			awaitTrue(t, "it is put back", func() bool { return !op.config(stream).AllowRollup })
			l.checkStream(l.apps.Of("app-1"))
			publish()
			if page, err := l.After(t.Context(), "app-1", "c", first, 100); !errors.Is(err, broker.ErrPositionExpired) {
				t.Errorf("got %+v and %v, want ErrPositionExpired", page, err)
			}
			if got := l.apps.Of("app-1").currentEpoch(); got != first.Epoch {
				t.Errorf("the epoch is %s, was %s", got, first.Epoch)
			}
		})
	}
}

// TestWeeks01StreamsOfOthers: foreign streams in the way are named in the error, with a way out.
func TestWeeks01StreamsOfOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(op operator) error
		wants []string
	}{
		{"on our subjects", func(op operator) error {
			_, err := op.js.CreateStream(op.t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"ch.>"}})
			return err
		}, []string{"the stream ORDERS has the subjects ch.app-1.>", "set nats.prefix"}},
		{"of our name", func(op operator) error {
			_, err := op.js.CreateStream(op.t.Context(), jetstream.StreamConfig{Name: "CH_app-1", Subjects: []string{"orders.>"}})
			return err
		}, []string{"CH_app-1 exists and differs", "orders.>", "set nats.prefix"}},
		{"in memory", func(op operator) error {
			_, err := op.js.CreateStream(op.t.Context(), jetstream.StreamConfig{Name: "CH_app-1", Subjects: []string{"ch.app-1.>"}, Storage: jetstream.MemoryStorage})
			return err
		}, []string{"storage is Memory, must be File", "back the stream up", "set nats.prefix"}},
		{"a bucket with a history", func(op operator) error {
			_, err := op.js.CreateKeyValue(op.t.Context(), jetstream.KeyValueConfig{Bucket: "sluice_epochs", History: 5})
			return err
		}, []string{"sluice_epochs", "history per key is 5", "set nats.prefix"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := node(t, t.TempDir())
			if err := c.make(beside(t, s)); err != nil {
				t.Fatal(err)
			}
			opt := options(s)
			opt.Apps = opt.Apps[:1]
			_, err := Open(t.Context(), opt)
			for _, want := range c.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			opt.Prefix = "ours."
			open(t, opt)
		})
	}
}

// TestWeeks01ASealedStream: a sealed stream is named while the log runs and when it starts. Its events can
// still be read, and other apps go on.
func TestWeeks01ASealedStream(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	event := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("x")}}
	if _, err := l.Publish(t.Context(), "app-1", event); err != nil {
		t.Fatal(err)
	}
	epoch := l.apps.Of("app-1").currentEpoch()
	newOperator(t, l).edit(StreamOf("app-1"), func(c *jetstream.StreamConfig) { c.Sealed = true })
	if _, err := l.Publish(t.Context(), "app-1", event); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("publishing: %v", err)
	}
	named := func(l *Log) bool {
		text := problemsOf(l)
		return strings.Contains(text, "CH_app-1 exists and differs for good: sealed is true") && strings.Contains(text, "back the stream up")
	}
	awaitTrue(t, "it is named", func() bool { return named(l) })
	if page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 10}); err != nil || len(page.Publications) != 1 {
		t.Errorf("reading: %v", err)
	}
	if got := l.apps.Of("app-1").currentEpoch(); got != epoch {
		t.Errorf("the epoch is %s, was %s", got, epoch)
	}
	_ = l.Close()
	if l = open(t, options(s)); !named(l) || !l.Health().Ready {
		t.Errorf("after a start: %+v", l.Health())
	}
	if _, err := l.Publish(t.Context(), "app.2 ü", event); err != nil {
		t.Error(err)
	}
}

// TestWeeks01ALostOverride: a purged bucket does not end an epoch.
func TestWeeks01ALostOverride(t *testing.T) {
	s := node(t, t.TempDir())
	opt := options(s)
	opt.NewEpoch = true
	open(t, options(s))
	l := open(t, opt)
	epoch := l.apps.Of("app-1").currentEpoch()
	if strings.Count(epoch, "-") != 2 {
		t.Fatalf("the epoch %s has no override", epoch)
	}
	bucket, err := l.admin.Stream(t.Context(), "KV_sluice_epochs")
	if err == nil {
		err = bucket.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	l.checkStream(l.apps.Of("app-1"))
	if got := l.apps.Of("app-1").currentEpoch(); got != epoch {
		t.Errorf("the epoch is %s, was %s", got, epoch)
	}
	if got := open(t, options(s)).apps.Of("app-1").currentEpoch(); got != epoch {
		t.Errorf("for another gateway it is %s, was %s", got, epoch)
	}
}

// TestWeeks10TheWindowOfIdsComesBack: the duplicate window grows again when retention is raised, by a reload,
// by a start and by hand.
func TestWeeks10TheWindowOfIdsComesBack(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	op := newOperator(t, l)
	window := func(want time.Duration) {
		t.Helper()
		awaitTrue(t, "the window is "+want.String(), func() bool { return op.config(StreamOf("app-1")).Duplicates == want })
	}
	retain := func(age time.Duration) {
		t.Helper()
		o := options(s).Apps[:1]
		o[0].MaxAge = age
		if err := l.Retain(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	window(idWindow)
	retain(time.Minute)
	window(time.Minute)
	retain(time.Hour)
	window(idWindow)
	op.edit(StreamOf("app-1"), func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Minute, time.Minute })
	op.edit(StreamOf("app-1"), func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
	window(idWindow)
	_ = l.Close()
	short := options(s)
	short.Apps[0].MaxAge = 30 * time.Second
	l = open(t, short)
	op = newOperator(t, l)
	window(30 * time.Second)
	_ = l.Close()
	l = open(t, options(s))
	op = newOperator(t, l)
	window(idWindow)
}

// TestWeeks20StreamsOfAppsThatAreGone: streams of removed apps are named once, and no longer when they are
// deleted.
func TestWeeks20StreamsOfAppsThatAreGone(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	op := beside(t, s)
	for _, foreign := range []jetstream.StreamConfig{
		{Name: "CH_other", Subjects: []string{"other.>"}}, {Name: "ORDERS", Subjects: []string{"orders.>"}},
	} {
		if _, err := op.js.CreateStream(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
	}
	fewer := options(s)
	fewer.Apps = fewer.Apps[1:]
	l = open(t, fewer)
	awaitTrue(t, "it is named", func() bool {
		text := problemsOf(l)
		return strings.Contains(text, `stream CH_app-1: it is the log of the app "app-1"`) && strings.Contains(text, "it holds 1 events") &&
			strings.Contains(text, "1073741824 bytes are set aside") && strings.Contains(text, "nats stream rm CH_app-1")
	})
	if h := l.Health(); !h.Ready || len(h.Problems) != 1 {
		t.Errorf("health is %+v", h)
	}
	if err := op.js.DeleteStream(t.Context(), "CH_app-1"); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{"CH_app-1": true}
	found, err := l.strays()
	if err != nil {
		t.Fatal(err)
	}
	l.tellStrays(found, told)
	if got := problemsOf(l); got != "" || len(told) > 0 {
		t.Errorf("after it was deleted: %s", got)
	}
}

// TestWeeks11NamesThatAreNoChannels: events under names that are no channels are counted, whether or not any
// channel is followed, and the process's log gives the reason once for each app.
func TestWeeks11NamesThatAreNoChannels(t *testing.T) {
	t.Parallel()
	s := node(t, t.TempDir())
	opt, text := options(s), &lines{}
	opt.Logger = slog.New(slog.NewTextHandler(text, nil))
	opt.CheckChannel = func(_, channel string) error {
		if strings.Contains(channel, " ") {
			return errors.New("it has a space")
		}
		return nil
	}
	l := open(t, opt)
	op := newOperator(t, l)
	bad := []string{"my.channel", "caf\u00e9", "a=2eb", "ticker=3AAAPL", "with=20space", "a.b.c"}
	good := []string{"lobby", "ticker:AAPL", "a=2Eb", "=C3=A9"}
	for _, token := range append(bad, good...) {
		if _, err := op.js.Publish(t.Context(), "ch.app-1."+token, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	awaitTrue(t, "they are counted", func() bool { return l.Upkeep().Unnamed == uint64(len(bad)) })
	if got := text.String(); strings.Count(got, "no channel; nobody can be given them") != 1 || !strings.Contains(got, "reason=") {
		t.Errorf("the log says\n%s", got)
	}
	if _, err := op.js.Publish(t.Context(), "ch.app-1.my.channel", []byte("x")); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "one more is counted", func() bool { return l.Upkeep().Unnamed == uint64(len(bad))+1 })
	a := l.apps.Of("app-1")
	for _, token := range bad {
		if l.notAChannel(a, token) == nil {
			t.Errorf("%s is taken for a channel", token)
		}
	}
	for _, token := range good {
		if err := l.notAChannel(a, token); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// TestWeeks01AStreamThatIsHeld: a stream on hold is not recreated, so that it can be restored beside running
// gateways.
func TestWeeks01AStreamThatIsHeld(t *testing.T) {
	t.Parallel()
	s := node(t, t.TempDir())
	l := open(t, options(s))
	op := newOperator(t, l)
	epoch := l.apps.Of("app-1").currentEpoch()
	hold := func(value string) {
		op.edit("GATEWAYS", func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{holdKey: value} })
	}
	hold("restoring")
	// NATS cannot detect that an edit has overtaken another one: an edit made at the moment in which a
	// gateway puts back what the last one removed may be undone by the gateway.
	awaitTrue(t, "the mark that the edit removed is put back", func() bool { return op.config("GATEWAYS").Metadata[epochKey] != "" })
	if err := op.js.DeleteStream(t.Context(), StreamOf("app-1")); err != nil {
		t.Fatal(err)
	}
	l.checkStream(l.apps.Of("app-1"))
	if got := problemsOf(l); !strings.Contains(got, "stream CH_app-1 is missing") || !strings.Contains(got, "nats stream edit GATEWAYS -f --metadata hold=") {
		t.Errorf("the problems are %q", got)
	}
	if _, err := op.js.Stream(t.Context(), StreamOf("app-1")); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream is there: %v", err)
	}
	hold("")
	awaitTrue(t, "it is made anew", func() bool { return l.apps.Of("app-1").currentEpoch() != epoch })
	awaitTrue(t, "nothing is wrong", func() bool { return len(l.Health().Problems) == 0 })
}
