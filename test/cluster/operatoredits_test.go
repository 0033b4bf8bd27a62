package cluster

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// operatorEdits lists the changes of a stream that NATS allows an operator. Changes that end the stream for
// good are left out, since nothing can be put back afterwards: sealed, work-queue retention of a stream that
// has another one, counters. So is interest retention: if it removes an event from the middle of a channel
// while a gateway hears nothing, NATS leaves no trace of that (see docs/operations.md). And an app's stream
// with replicas is not told to discard new messages: its replicas may differ afterwards, and NATS would not
// report that either.
var operatorEdits = []struct {
	name   string
	change func(o *randomOperator, c *jetstream.StreamConfig)
}{
	{"no_ack", func(_ *randomOperator, c *jetstream.StreamConfig) { c.NoAck = true }},
	{"other subjects", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.Subjects, c.RePublish = []string{"elsewhere." + c.Name + ".>"}, nil
	}},
	{"more subjects", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.Subjects = append(c.Subjects, "elsewhere."+c.Name+".>")
	}},
	{"a transform", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "away.>"}
	}},
	{"no republishing", func(_ *randomOperator, c *jetstream.StreamConfig) { c.RePublish = nil }},
	{"republishing elsewhere", func(_ *randomOperator, c *jetstream.StreamConfig) {
		if c.RePublish != nil {
			c.RePublish = &jetstream.RePublish{Source: c.RePublish.Source, Destination: "rx." + c.Name + ".>"}
		}
	}},
	{"republishing headers", func(_ *randomOperator, c *jetstream.StreamConfig) {
		if c.RePublish != nil {
			c.RePublish = &jetstream.RePublish{Source: c.RePublish.Source, Destination: c.RePublish.Destination, HeadersOnly: true}
		}
	}},
	{"max_msgs", func(o *randomOperator, c *jetstream.StreamConfig) { c.MaxMsgs = []int64{1, 3, 100}[o.rnd.IntN(3)] }},
	{"max_msgs_per_subject", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.MaxMsgsPerSubject = []int64{1, 5, 100}[o.rnd.IntN(3)]
	}},
	{"max_bytes", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.MaxBytes = []int64{64 << 10, 1 << 20}[o.rnd.IntN(2)]
	}},
	{"max_age", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.MaxAge = []time.Duration{time.Second, time.Minute}[o.rnd.IntN(2)]
		c.Duplicates = min(c.Duplicates, c.MaxAge)
	}},
	{"max_msg_size", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.MaxMsgSize = []int32{16, 2048, -1}[o.rnd.IntN(3)]
	}},
	{"discard new", func(o *randomOperator, c *jetstream.StreamConfig) {
		if c.Name != o.app {
			c.Discard = jetstream.DiscardNew
		}
	}},
	{"discard old", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.Discard, c.DiscardNewPerSubject = jetstream.DiscardOld, false
	}},
	{"discard new per subject", func(o *randomOperator, c *jetstream.StreamConfig) {
		if c.Name != o.app {
			c.Discard, c.DiscardNewPerSubject, c.MaxMsgsPerSubject = jetstream.DiscardNew, true, 3
		}
	}},
	{"a short window of ids", func(_ *randomOperator, c *jetstream.StreamConfig) { c.Duplicates = 100 * time.Millisecond }},
	{"a long window of ids", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.Duplicates = 10 * time.Minute
		if c.MaxAge > 0 {
			c.Duplicates = min(c.Duplicates, c.MaxAge)
		}
	}},
	{"no direct reads", func(_ *randomOperator, c *jetstream.StreamConfig) { c.AllowDirect = false }},
	{"mirror_direct", func(_ *randomOperator, c *jetstream.StreamConfig) { c.MirrorDirect = !c.MirrorDirect }},
	{"deny_purge", func(_ *randomOperator, c *jetstream.StreamConfig) { c.DenyPurge, c.AllowRollup = true, false }},
	{"deny_delete", func(_ *randomOperator, c *jetstream.StreamConfig) { c.DenyDelete = !c.DenyDelete }},
	{"roll-ups", func(_ *randomOperator, c *jetstream.StreamConfig) { c.AllowRollup = !c.AllowRollup }},
	{"one copy", func(_ *randomOperator, c *jetstream.StreamConfig) { c.Replicas = 1 }},
	{"three copies", func(_ *randomOperator, c *jetstream.StreamConfig) { c.Replicas = 3 }},
	{"placement", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.Replicas, c.Placement = 1, &jetstream.Placement{Tags: []string{fmt.Sprint("at:", o.rnd.IntN(3))}}
	}},
	{"compression", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.Compression = map[jetstream.StoreCompression]jetstream.StoreCompression{
			jetstream.NoCompression: jetstream.S2Compression, jetstream.S2Compression: jetstream.NoCompression,
		}[c.Compression]
	}},
	{"no metadata", func(_ *randomOperator, c *jetstream.StreamConfig) { c.Metadata = nil }},
	{"more metadata", func(o *randomOperator, c *jetstream.StreamConfig) {
		of := map[string]string{"team": fmt.Sprint(o.rnd.IntN(10))}
		for k, v := range c.Metadata {
			of[k] = v
		}
		c.Metadata = of
	}},
	{"a description", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.Description = fmt.Sprint("mine ", o.rnd.IntN(10))
	}},
	{"limits of consumers", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.ConsumerLimits = jetstream.StreamConsumerLimits{MaxAckPending: 5, InactiveThreshold: time.Minute}
	}},
	{"batches", func(_ *randomOperator, c *jetstream.StreamConfig) { c.AllowAtomicPublish = true }},
	{"a source", func(_ *randomOperator, c *jetstream.StreamConfig) {
		c.Sources = []*jetstream.StreamSource{{Name: "NOBODY"}}
	}},
	{"message TTLs", func(o *randomOperator, c *jetstream.StreamConfig) {
		c.AllowMsgTTL = c.AllowMsgTTL || o.rnd.IntN(8) == 0
	}},
	{"delete markers", func(o *randomOperator, c *jetstream.StreamConfig) {
		if o.rnd.IntN(8) == 0 {
			c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = true, time.Second
		}
	}},
	{"schedules", func(o *randomOperator, c *jetstream.StreamConfig) {
		if o.rnd.IntN(8) == 0 {
			c.AllowMsgSchedules, c.AllowRollup = true, true
		}
	}},
}
