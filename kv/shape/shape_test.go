package shape

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

func keys(t reflect.Type) map[string]string {
	out := map[string]string{}
	for i := range t.NumField() {
		out[setting(t.Field(i))] = t.Field(i).Name
	}
	return out
}

// A release of NATS that brings a new setting makes this fail: somebody has to decide
// about it.
func TestWeeks01EverySettingHasARule(t *testing.T) {
	client := keys(reflect.TypeFor[jetstream.StreamConfig]())
	for key, field := range client {
		if _, ok := rules[field]; !ok {
			t.Errorf("%s (%s) has no rule", field, key)
		}
	}
	if len(rules) != len(client) {
		t.Errorf("there are %d rules for %d fields", len(rules), len(client))
	}
	for key, field := range keys(reflect.TypeFor[server.StreamConfig]()) {
		if client[key] == "" {
			t.Errorf("%s (%s) of the server is unknown to the client library, which would reset it", field, key)
		}
	}
}

func TestCompare(t *testing.T) {
	want := jetstream.StreamConfig{
		Name: "S", Subjects: []string{"a.>"}, Storage: jetstream.FileStorage, Replicas: 1, MaxAge: time.Hour,
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgSize: 1000, Duplicates: 2 * time.Minute, DenyDelete: true,
		RePublish: &jetstream.RePublish{Source: "a.>", Destination: "b.>"}, Metadata: map[string]string{"epoch": "e"},
	}
	for _, c := range []struct {
		name                            string
		change                          func(*jetstream.StreamConfig)
		changed, limits, lasting, fatal string
	}{
		{"nothing", func(*jetstream.StreamConfig) {}, "", "", "", ""},
		{"other forms of no limit", func(c *jetstream.StreamConfig) {
			c.MaxMsgs, c.MaxConsumers = 0, 0
			c.Sources = []*jetstream.StreamSource{}
		}, "", "", "", ""},
		{"what is the operator's", func(c *jetstream.StreamConfig) {
			c.Description, c.Compression, c.Placement = "mine", jetstream.S2Compression, &jetstream.Placement{Tags: []string{"ssd"}}
			c.Metadata = map[string]string{"epoch": "other", "_nats.level": "3"}
		}, "", "", "", ""},
		{"no acknowledgements", func(c *jetstream.StreamConfig) { c.NoAck = true }, "no_ack is true, must be false", "", "", ""},
		{"republishing headers alone", func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: "a.>", Destination: "b.>", HeadersOnly: true}
		}, "republish is {Source:a.> Destination:b.> HeadersOnly:true}, must be {Source:a.> Destination:b.> HeadersOnly:false}", "", "", ""},
		{"a smaller limit of messages", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 }, "max_msg_size is 10, must be 1000", "", "", ""},
		{"a larger one", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 2000 }, "", "", "", ""},
		{"none", func(c *jetstream.StreamConfig) { c.MaxMsgSize = -1 }, "", "", "", ""},
		{"a longer window", func(c *jetstream.StreamConfig) { c.Duplicates = 3 * time.Minute }, "", "", "", ""},
		{"a shorter one", func(c *jetstream.StreamConfig) { c.Duplicates = time.Second }, "duplicate_window is 1s, must be 2m0s", "", "", ""},
		{"as short as the age", func(c *jetstream.StreamConfig) { c.Duplicates, c.MaxAge = time.Minute, time.Minute }, "", "max_age is 1m0s, must be 1h0m0s", "", ""},
		{"no epoch", func(c *jetstream.StreamConfig) { c.Metadata = nil }, "metadata epoch is missing, must be e", "", "", ""},
		{"message TTLs", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, "", "", "allow_msg_ttl is true, must be false", ""},
		{"retention that can be put back", func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "retention is Interest, must be Limits", "", "", ""},
		{"retention that cannot", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "", "", "", "retention is WorkQueue, must be Limits"},
		{"sealed", func(c *jetstream.StreamConfig) { c.Sealed = true }, "", "", "", "sealed is true, must be false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			have := want
			c.change(&have)
			r := Compare(have, want, nil, false)
			for name, got := range map[string][2]string{
				"changed": {List(r.Changed), c.changed}, "limits": {List(r.Limits), c.limits},
				"lasting": {List(r.Lasting), c.lasting}, "fatal": {List(r.Fatal), c.fatal},
			} {
				if got[0] != got[1] {
					t.Errorf("%s: got %q, want %q", name, got[0], got[1])
				}
			}
			if again := Compare(r.Config, want, nil, false); len(again.Changed) > 0 {
				t.Errorf("what was put back differs again: %s", List(again.Changed))
			}
		})
	}
}

func TestLimitsAreAdaptedWithTheirWindow(t *testing.T) {
	want := jetstream.StreamConfig{MaxAge: time.Hour, Duplicates: 2 * time.Minute}
	r := Compare(jetstream.StreamConfig{MaxAge: time.Minute, Duplicates: time.Minute}, want, nil, true)
	if r.Config.MaxAge != time.Hour || r.Config.Duplicates != 2*time.Minute {
		t.Errorf("raised: got %v with %v", r.Config.MaxAge, r.Config.Duplicates)
	}
	want = jetstream.StreamConfig{MaxAge: time.Minute, Duplicates: 2 * time.Minute}
	r = Compare(jetstream.StreamConfig{MaxAge: time.Hour, Duplicates: 2 * time.Minute}, want, nil, true)
	if r.Config.MaxAge != time.Minute || r.Config.Duplicates != time.Minute || !strings.Contains(List(r.Changed), "duplicate_window") {
		t.Errorf("lowered: got %v with %v", r.Config.MaxAge, r.Config.Duplicates)
	}
}
