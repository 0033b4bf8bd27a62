package count_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/pusher"
)

func partRules() *app.Delta {
	return &app.Delta{Enabled: true, Interval: 4, MinSize: 100, MaxKeys: 3, DeliverTags: true}
}

func partOf(ev *broker.Event, channel, value string, rules *app.Delta) count.Part {
	return count.PartOf(ev, channel, value, delta.ShapeOf(ev.Data), rules)
}

// TestDS20OldMarkersPoisonWhereverTheyStand: an old marker poisons wherever it is in a frame, alone or within
// a longer text.
func TestDS20OldMarkersPoisonWhereverTheyStand(t *testing.T) {
	for _, marker := range []string{"__delta_seq", "my__delta_seq", "__conflation_key", "a__conflation_key_b"} {
		for where, put := range map[string]func(ev *broker.Event, channel, value *string){
			"name":             func(ev *broker.Event, _, _ *string) { ev.Name = marker },
			"channel":          func(_ *broker.Event, channel, _ *string) { *channel = marker },
			"value":            func(_ *broker.Event, _, value *string) { *value = marker },
			"object":           func(ev *broker.Event, _, _ *string) { ev.Data = []byte(`{"` + marker + `":1}`) },
			"text":             func(ev *broker.Event, _, _ *string) { ev.Data = []byte("say " + marker) },
			"scalar":           func(ev *broker.Event, _, _ *string) { ev.Data = []byte(`"` + marker + `"`) },
			"user":             func(ev *broker.Event, _, _ *string) { ev.UserID = marker },
			"message id":       func(ev *broker.Event, _, _ *string) { ev.MessageID = marker },
			"name of a tag":    func(ev *broker.Event, _, _ *string) { ev.Tags = map[string]string{"a": "b", marker: "x"} },
			"tag":              func(ev *broker.Event, _, _ *string) { ev.Tags = map[string]string{"a": marker} },
			"extras":           func(ev *broker.Event, _, _ *string) { ev.Extras = []byte(`{"x":"` + marker + `"}`) },
			"with delta:false": func(ev *broker.Event, _, _ *string) { ev.Delta, ev.Name = broker.DeltaNever, marker },
			"with delta:true":  func(ev *broker.Event, _, _ *string) { ev.Delta, ev.Name = broker.DeltaAlways, marker },
		} {
			ev, channel, value := &broker.Event{Name: "tick", Data: []byte(strings.Repeat("steady ", 40))}, "market", "v"
			put(ev, &channel, &value)
			if got := partOf(ev, channel, value, partRules()); got != count.Poisoned {
				t.Errorf("%s as %s: got %d", marker, where, got)
			}
		}
	}
	hidden := partRules()
	hidden.DeliverTags = false
	ev := &broker.Event{Name: "tick", Data: []byte(strings.Repeat("steady ", 40)), Tags: map[string]string{"__delta_seq": ""}}
	if got := partOf(ev, "market", "", hidden); got != count.Tracked {
		t.Errorf("tags that nobody gets: got %d", got)
	}
}

// TestPartAgreesWithTheTextsOfTheFrames compares with a twin that writes all frames of an event and searches
// them.
func TestPartAgreesWithTheTextsOfTheFrames(t *testing.T) {
	pieces := rapid.SampledFrom([]string{
		"__delta_seq", "__conflation_key", "_", "__", "__delta", "_seq", "delta_seq", "__conflation", "_key", `"`, `\`, "\n", "\x01", "é", "<", "u005f", "_long_text_",
	})
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string {
			return strings.Join(rapid.SliceOfN(pieces, 0, 3).Draw(t, label), "")
		}
		ev := &broker.Event{Name: text("name"), UserID: text("user"), MessageID: text("id"), Delta: rapid.SampledFrom([]broker.DeltaHint{
			broker.DeltaDefault, broker.DeltaDefault, broker.DeltaNever, broker.DeltaAlways,
		}).Draw(t, "hint")}
		if rapid.Bool().Draw(t, "tagged") {
			ev.Tags = map[string]string{text("tag"): text("tag's"), "t": text("t's")}
		}
		data := text("data")
		if quoted, err := json.Marshal(map[string]string{text("member"): data}); err == nil && rapid.Bool().Draw(t, "object") {
			data = string(quoted)
		}
		ev.Data = []byte(data)
		if rapid.Bool().Draw(t, "extended") {
			ev.Extras, _ = json.Marshal(map[string]string{"x": text("extra")})
		}
		channel, value, rules := text("channel"), text("value"), partRules()
		rules.Enabled, rules.DeliverTags = rapid.IntRange(0, 9).Draw(t, "off") > 0, rapid.Bool().Draw(t, "tags")
		rules.MinSize = rapid.IntRange(0, 200).Draw(t, "min")

		shape := delta.ShapeOf(ev.Data)
		f := pusher.EventFrame{Event: ev.Name, Channel: channel, Data: ev.Data, UserID: ev.UserID, MessageID: ev.MessageID, Extras: ev.Extras}
		if rules.DeliverTags {
			f.Tags = ev.Tags
		}
		f.EmbedData = shape == delta.Structure
		want, mark := count.Tracked, pusher.Mark{Keyed: true, Key: value}
		frame := string(pusher.AppendMarked(nil, pusher.V2, &f, mark))
		switch bare := pusher.AppendBare(nil, pusher.V1, &f); {
		case !rules.Enabled:
			want = count.Plain
		case strings.Contains(frame, "__delta_seq"), strings.Contains(frame, "__conflation_key"):
			want = count.Poisoned
		case ev.Delta == broker.DeltaNever, shape == delta.Empty, shape == delta.Scalar,
			ev.Delta != broker.DeltaAlways && len(bare) < rules.MinSize:
			want = count.Plain
		}
		if got := count.PartOf(ev, channel, value, shape, rules); got != want {
			t.Fatalf("got %d, want %d for %s", got, want, frame)
		}
	})
}

func TestPartDoesNotAllocate(t *testing.T) {
	ev, rules := &broker.Event{Name: "tick", Data: []byte(`{"a":1}`), Tags: map[string]string{"a": "b"}}, partRules()
	if n := testing.AllocsPerRun(100, func() { count.PartOf(ev, "market", "", delta.Structure, rules) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// counting is a log that records the counts it is given, and stores nothing.
type counting struct {
	broker.Counting
	told []broker.Count
}

func (c *counting) Counts() bool { return true }

func (c *counting) Publish(_ context.Context, _ string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	for _, e := range events {
		c.told = append(c.told, e.Count)
	}
	return make([]broker.Receipt, len(events)), nil
}

// TestDS14LogsCountWhatTakesPart: a log that counts by itself counts tracked publications only.
func TestDS14LogsCountWhatTakesPart(t *testing.T) {
	log, rules := &counting{}, partRules()
	rules.Path = "k"
	in := count.InLog(log, app.NewRegistry(&app.App{ID: "app", Key: "key", Delta: *rules}))
	long := strings.Repeat("steady ", 40)
	events := []broker.Event{
		{Name: "tick", Data: []byte(`{"k":"a","x":"` + long + `"}`)},
		{Name: "tick", Data: []byte(`{"k":"a","x":"` + long + `"}`), Delta: broker.DeltaNever},
		{Name: "tick", Data: []byte(`{"k":"a"}`)},
		{Name: "tick", Data: []byte(`{"k":"a"}`), Delta: broker.DeltaAlways},
		{Name: "tick", Data: []byte(`"` + long + `"`)},
		{Name: "tick", Data: []byte(long)},
		{Name: "tick"},
		{Name: "my__delta_seq", Data: []byte(`{"k":"a","x":"` + long + `"}`)},
		{Name: "tick", Data: []byte(`{"x":"` + long + `"}`), HasKey: true, ConflationKey: "b"},
	}
	var out []broker.Outgoing
	for i := range events {
		out = append(out, broker.Outgoing{Channel: "market", Event: &events[i]})
	}
	if _, err := in.Publish(t.Context(), "app", out...); err != nil {
		t.Fatal(err)
	}
	of := func(value string) broker.Count { return broker.Count{Interval: 4, Value: value, MaxValues: 3} }
	if diff := cmp.Diff([]broker.Count{of("a"), {}, {}, of("a"), {}, of(""), {}, {}, of("b")}, log.told); diff != "" {
		t.Errorf("wanted (-) and got (+):\n%s", diff)
	}
}
